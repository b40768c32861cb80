// SIMT_LATE=1: work waits in a queue until somebody has to wait for it, so that lifetimes that are too short show.
#pragma once

#include "driver.h"

namespace simt {

// Work that waits, and what has to be done before it.
struct Queued {
    Context* context;
    Work work;  // empty for the mark of an event, and where a graph begins and ends
    bool fails;
    Queue after;
    std::list<std::shared_ptr<Queued>>::iterator place;  // in the context
    bool done, asked;
    std::chrono::steady_clock::time_point time;  // when it was done
};

// Does a piece of work now. `fails` breaks the context in its place.
void run_work(const Work& work, bool fails);
// Counts a launch, and says whether it is the one that was asked to fail.
bool count_launch(const Work& work);

namespace late {

// With CUDA_LAUNCH_BLOCKING=1 nothing waits.
bool is_on();

// Puts work, or all of a graph, at the end of a stream.
void add(Context* context, void* stream, const Work& work);
void add(Context* context, void* stream, GraphExec& exec);
// What is done when all that the stream holds now is done.
std::shared_ptr<Queued> mark(Context* context, void* stream);
// Whatever comes next in the stream waits for this; null is nothing.
void wait(Context* context, void* stream, const std::shared_ptr<Queued>& event);

// Do what is asked for and what that waits for, no more, and return the context's error. Of streams that need not wait for each other, one or
// the other comes first: it changes with these calls.
CUresult finish(const Context* context, const std::shared_ptr<Queued>& event);
CUresult finish(Context* context, void* stream);
CUresult finish(Context* context);

// CUDA_ERROR_NOT_READY when asked for the first time while there is work, and then as finish().
CUresult query(const Context* context, const std::shared_ptr<Queued>& event);
CUresult query(Context* context, void* stream);

// The stream goes, its work stays.
void forget(Stream* stream);

}  // namespace late
}  // namespace simt
