// The queue of work that waits.
#include "late.h"
#include "panel.h"

#include <cstdlib>
#include <cstring>

namespace simt {
namespace {

constexpr unsigned NON_BLOCKING = 1;
// Whether streams come before the events that they wait for, or behind them. It changes from wait to wait, without a period that
// waits of a program may have too, and in the same way each time that it runs.
bool streams_first;

void draw_order() {
    static uint32_t bits = 1;
    bits ^= bits << 13;
    bits ^= bits >> 17;
    bits ^= bits << 5;
    streams_first = bits >> 31;
}

bool is_one(const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && std::strcmp(value, "1") == 0;
}

// 0, 1 and 2 are the legacy stream (see stream.cpp).
Stream* blocking_or_null(void* stream) { return uintptr_t(stream) <= 2 ? nullptr : static_cast<Stream*>(stream); }

void append(Queue& to, const Queue& more) { to.insert(to.end(), more.begin(), more.end()); }

// What comes next in a stream waits for these. The legacy stream and those that are not NON_BLOCKING wait for each other.
Queue last_of(Context* context, void* handle) {
    Stream* stream = blocking_or_null(handle);
    Queue last = stream == nullptr ? context->last : stream->last;
    if (stream == nullptr) {
        for (Stream* other : streams.all()) {
            if (other->context == context && !(other->flags & NON_BLOCKING)) {
                append(last, other->last);
            }
        }
    } else if (!(stream->flags & NON_BLOCKING)) {
        append(last, context->last);
    }
    std::erase_if(last, [](const auto& queued) { return queued->done; });
    return last;
}

Queue& own_last(Context* context, void* handle) {
    Stream* stream = blocking_or_null(handle);
    return stream == nullptr ? context->last : stream->last;
}

std::shared_ptr<Queued> put(Context* context, const Work& work, Queue after) {
    bool fails = count_launch(work);
    auto queued = std::make_shared<Queued>(Queued{context, work, fails, std::move(after), {}, false, false, {}});
    queued->place = context->queued.insert(context->queued.end(), queued);
    return queued;
}

std::shared_ptr<Queued> nothing(Context* context, Queue after) {
    return put(context, Work{Work::EMPTY, context, nullptr, nullptr, nullptr}, std::move(after));
}

// Without recursion: there may be a hundred thousand of them, one behind the other.
void run(const std::shared_ptr<Queued>& wanted) {
    Queue path{wanted};
    while (!path.empty()) {
        std::shared_ptr<Queued> queued = path.back();
        if (!queued->done && !queued->after.empty()) {
            auto next = streams_first ? queued->after.begin() : queued->after.end() - 1;
            path.push_back(*next);
            queued->after.erase(next);
            continue;
        }
        path.pop_back();
        if (!queued->done) {
            run_work(queued->work, queued->fails);
            queued->work = {};
            queued->done = true;
            queued->time = std::chrono::steady_clock::now();
            queued->context->queued.erase(queued->place);
        }
    }
}

}  // namespace

namespace late {

bool is_on() {
    static const bool on = is_one("SIMT_LATE") && !is_one("CUDA_LAUNCH_BLOCKING");
    return on;
}

void add(Context* context, void* stream, const Work& work) {
    auto queued = put(context, work, last_of(context, stream));
    own_last(context, stream) = {queued};
}

void add(Context* context, void* stream, GraphExec& exec) {
    Queue before = last_of(context, stream);
    if (exec.last != nullptr) {  // launches of one graph wait for each other
        before.push_back(exec.last);
    }
    auto begin = nothing(context, std::move(before));
    Queue all, ends;
    for (const GraphExec::Entry& entry : exec.work) {
        Queue after;
        for (size_t i : entry.after) {
            after.push_back(all[i]);
            std::erase(ends, all[i]);
        }
        if (after.empty()) {
            after.push_back(begin);
        }
        all.push_back(put(context, entry.work, std::move(after)));
        ends.push_back(all.back());
    }
    if (ends.empty()) {
        ends.push_back(begin);
    }
    exec.last = nothing(context, std::move(ends));
    own_last(context, stream) = {exec.last};
}

std::shared_ptr<Queued> mark(Context* context, void* stream) {
    auto queued = nothing(context, last_of(context, stream));
    own_last(context, stream) = {queued};
    return queued;
}

void wait(Context* context, void* stream, const std::shared_ptr<Queued>& event) {
    if (event != nullptr && !event->done) {
        own_last(context, stream).push_back(event);
    }
}

CUresult finish(const Context* context, const std::shared_ptr<Queued>& event) {
    if (event != nullptr && !event->done) {
        draw_order();
        run(event);
    }
    return context->broken;
}

CUresult finish(Context* context, void* stream) {
    Queue last = last_of(context, stream);
    return last.empty() ? context->broken : finish(context, nothing(context, std::move(last)));
}

CUresult finish(Context* context) {
    draw_order();
    while (!context->queued.empty()) {
        run(streams_first ? context->queued.front() : context->queued.back());
    }
    return context->broken;
}

CUresult query(const Context* context, const std::shared_ptr<Queued>& event) {
    if (event != nullptr && !event->done && !event->asked) {
        event->asked = true;
        return CUDA_ERROR_NOT_READY;
    }
    return finish(context, event);
}

CUresult query(Context* context, void* stream) {
    for (const auto& queued : last_of(context, stream)) {
        if (!queued->asked) {
            queued->asked = true;
            return CUDA_ERROR_NOT_READY;
        }
    }
    return finish(context, stream);
}

void forget(Stream* stream) {
    if (!(stream->flags & NON_BLOCKING)) {
        append(stream->context->last, stream->last);  // the legacy stream still waits for it
    }
}

}  // namespace late
}  // namespace simt
