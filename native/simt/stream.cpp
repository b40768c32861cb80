// Streams, events, capture and graphs. Work runs at once, so streams are always idle and the order of calls is the order of work;
// unless SIMT_LATE=1 lets it wait (late.cpp).
#include "driver.h"
#include "late.h"
#include "panel.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#define EXPORT extern "C" __attribute__((visibility("default"))) CUresult

namespace simt {

Handles<Stream> streams;
Handles<Event> events;
Handles<GraphExec> graph_execs;

namespace {

constexpr unsigned NON_BLOCKING = 1;  // CU_STREAM_NON_BLOCKING and its like
constexpr unsigned EVENT_WITHOUT_TIME = 2;
constexpr unsigned EXTERNAL = 1;  // CU_EVENT_RECORD_EXTERNAL and CU_EVENT_WAIT_EXTERNAL

std::unordered_set<Graph*> graphs;
uint64_t next_id = 1;
thread_local CaptureMode thread_mode = CAPTURE_GLOBAL;

// 0 is the legacy stream, and so is 1 by its own name; 2 is the one of the thread, which blocks alike.
bool is_legacy(const void* stream) { return uintptr_t(stream) <= 2; }

bool is_stream(const void* stream) { return is_legacy(stream) || streams.has(stream); }

Capture* capture_of(void* stream) {
    return is_legacy(stream) ? nullptr : static_cast<Stream*>(stream)->capture.get();
}

CUresult forbid(Capture& capture, CUresult error) {
    capture.valid = false;
    return error;
}

}  // namespace

thread_local Context* running;

bool count_launch(const Work& work) {
    if (work.launch == nullptr && work.library == nullptr) {
        return false;
    }
    (work.library != nullptr ? panel.library_launches : panel.launches)++;
    return due(panel.fail_launch);
}

void run_work(const Work& work, bool fails) {
    Context* context = work.context;
    if (context->broken != CUDA_SUCCESS) {
        return;
    }
    if (fails) {
        std::fprintf(stderr, "simt: %s%s fails because the test asked for it\n", work.library != nullptr ? "" : "kernel ",
                work.library != nullptr ? work.library : work.launch->kernel->name);
        context->broken = CUDA_ERROR_ILLEGAL_ADDRESS;
        return;
    }
    running = context;
    if (work.launch != nullptr) {
        work.launch->run(context);
    } else if (work.run != nullptr) {
        work.run();
    }
    running = nullptr;
}

CUresult submit(Context* context, void* stream, Work work) {
    if (!is_stream(stream)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (is_legacy(stream)) {
        if (CUresult error = refuse_legacy_stream(context)) {
            return error;
        }
    }
    Capture* capture = capture_of(stream);
    if (capture == nullptr) {
        if (late::is_on()) {
            late::add(context, stream, work);
            return CUDA_SUCCESS;
        }
        run_work(work, context->broken == CUDA_SUCCESS && count_launch(work));
        return after_work(context);
    }
    if (!capture->valid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    std::vector<const Node*>& last = capture->last[static_cast<Stream*>(stream)];
    capture->nodes.push_back(std::make_shared<Node>(Node{std::move(work), std::move(last)}));
    last = {capture->nodes.back().get()};
    return CUDA_SUCCESS;
}

CUresult enqueue(void* stream, const char* name, std::function<void()> work) {
    Call call(Needs::CONTEXT);
    if (call.error != CUDA_SUCCESS) {
        return call.error;
    }
    return submit(call.context, stream, Work{Work::KERNEL, call.context, std::move(work), nullptr, name});
}

bool is_capturing(void* stream) {
    std::lock_guard<std::recursive_mutex> guard(driver_lock);
    return is_stream(stream) && capture_of(stream) != nullptr;
}

CUresult may_allocate() {
    Call call(Needs::CONTEXT);
    return call.error != CUDA_SUCCESS ? call.error : refuse_unsafe_call();
}

CUresult refuse_in_capture(void* stream) {
    Capture* capture = is_stream(stream) ? capture_of(stream) : nullptr;
    return capture == nullptr ? CUDA_SUCCESS : forbid(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

CUresult refuse_in_context(const Context* context) {
    CUresult error = CUDA_SUCCESS;
    for (Stream* stream : streams.all()) {
        if (stream->context == context && stream->capture != nullptr) {
            error = refuse_in_capture(stream);
        }
    }
    return error != CUDA_SUCCESS ? error : refuse_unsafe_call();
}

CUresult refuse_unsafe_call() {
    if (thread_mode == CAPTURE_RELAXED) {
        return CUDA_SUCCESS;
    }
    CUresult error = CUDA_SUCCESS;
    for (Stream* stream : streams.all()) {
        Capture* capture = stream->capture.get();
        if (capture == nullptr || capture->mode == CAPTURE_RELAXED) {
            continue;
        }
        bool own = capture->thread == std::this_thread::get_id();
        if (own || (capture->mode == CAPTURE_GLOBAL && thread_mode == CAPTURE_GLOBAL)) {
            error = forbid(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
    }
    return error;
}

CUresult refuse_legacy_stream(const Context* context) {
    CUresult error = CUDA_SUCCESS;
    for (Stream* stream : streams.all()) {
        if (stream->capture != nullptr && stream->context == context && !(stream->flags & NON_BLOCKING)) {
            error = forbid(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        }
    }
    return error;
}

}  // namespace simt

using namespace simt;

#define BEGIN(needs) \
    Call call(Needs::needs); \
    if (call.error != CUDA_SUCCESS) { \
        return call.error; \
    }
#define REQUIRE(condition, otherwise) \
    if (!(condition)) { \
        return otherwise; \
    }

// Streams

EXPORT cuStreamCreateWithPriority(Stream** stream, unsigned flags, int priority) {
    BEGIN(CONTEXT)
    REQUIRE(flags <= NON_BLOCKING, CUDA_ERROR_INVALID_VALUE)
    *stream = streams.add(Stream{call.context, flags, priority, next_id++, nullptr});
    return CUDA_SUCCESS;
}

EXPORT cuStreamCreate(Stream** stream, unsigned flags) {
    return cuStreamCreateWithPriority(stream, flags, 0);
}

EXPORT cuStreamDestroy_v2(Stream* stream) {
    BEGIN(CONTEXT)
    REQUIRE(streams.has(stream), CUDA_ERROR_INVALID_HANDLE)
    if (stream->capture != nullptr) {
        Capture& capture = *stream->capture;
        capture.valid = false;
        capture.streams.erase(stream);
    }
    late::forget(stream);
    streams.remove(stream);
    return CUDA_SUCCESS;
}

namespace {

// What forbids to wait for a stream, or to ask whether it is done.
CUresult refuse_to_look_at(const Context* context, Stream* stream) {
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    CUresult error = is_legacy(stream) ? refuse_legacy_stream(context) : refuse_in_capture(stream);
    return error != CUDA_SUCCESS ? error : refuse_unsafe_call();
}

CUresult refuse_to_look_at(const Event* event) {
    REQUIRE(events.has(event), CUDA_ERROR_INVALID_HANDLE)
    return event->capture == nullptr ? refuse_unsafe_call() : forbid(*event->capture, CUDA_ERROR_CAPTURED_EVENT);
}

}  // namespace

EXPORT cuStreamSynchronize(Stream* stream) {
    BEGIN(CONTEXT)
    CUresult error = refuse_to_look_at(call.context, stream);
    return error != CUDA_SUCCESS ? error : late::finish(call.context, stream);
}

EXPORT cuStreamQuery(Stream* stream) {
    BEGIN(CONTEXT)
    CUresult error = refuse_to_look_at(call.context, stream);
    return error != CUDA_SUCCESS ? error : late::query(call.context, stream);
}

EXPORT cuStreamGetFlags(Stream* stream, unsigned* flags) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    *flags = is_legacy(stream) ? 0 : stream->flags;
    return CUDA_SUCCESS;
}

EXPORT cuStreamGetPriority(Stream* stream, int* priority) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    *priority = is_legacy(stream) ? 0 : stream->priority;
    return CUDA_SUCCESS;
}

EXPORT cuStreamGetId(Stream* stream, unsigned long long* id) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    *id = is_legacy(stream) ? 0 : stream->id;
    return CUDA_SUCCESS;
}

EXPORT cuStreamGetCtx(Stream* stream, Context** context) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    *context = is_legacy(stream) ? call.context : stream->context;
    return CUDA_SUCCESS;
}

EXPORT cuStreamWaitEvent(Stream* stream, Event* event, unsigned flags) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream) && events.has(event), CUDA_ERROR_INVALID_HANDLE)
    REQUIRE(flags == 0, flags == EXTERNAL && capture_of(stream) != nullptr ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE)
    if (event->capture == nullptr) {
        // An event from outside would tie the graph to work that is not in it.
        Capture* capture = capture_of(stream);
        if (capture == nullptr) {
            late::wait(call.context, stream, event->queued);
            return CUDA_SUCCESS;
        }
        return event->recorded ? forbid(*capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION) : CUDA_SUCCESS;
    }
    if (is_legacy(stream)) {
        return forbid(*event->capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
    Capture& capture = *event->capture;
    if (capture.origin == nullptr) {
        // That capture has ended.
        return stream->capture == nullptr ? CUDA_ERROR_CAPTURED_EVENT : forbid(*stream->capture, CUDA_ERROR_CAPTURED_EVENT);
    }
    REQUIRE(capture.valid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
    if (stream->capture == nullptr) {
        stream->capture = event->capture;
        capture.streams.insert(stream);
    } else if (stream->capture != event->capture) {
        stream->capture->valid = false;
        return forbid(capture, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    }
    std::vector<const Node*>& last = capture.last[stream];
    last.insert(last.end(), event->captured.begin(), event->captured.end());
    capture.joined[stream].insert(event->joined.begin(), event->joined.end());
    return CUDA_SUCCESS;
}

// Events

EXPORT cuEventCreate(Event** event, unsigned flags) {
    BEGIN(CONTEXT)
    *event = events.add(Event{call.context, flags, false, {}, nullptr});
    return CUDA_SUCCESS;
}

EXPORT cuEventDestroy_v2(Event* event) {
    BEGIN(CONTEXT)
    REQUIRE(events.has(event), CUDA_ERROR_INVALID_HANDLE)
    events.remove(event);
    return CUDA_SUCCESS;
}

EXPORT cuEventRecord(Event* event, Stream* stream) {
    BEGIN(CONTEXT)
    REQUIRE(events.has(event) && is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    REQUIRE(event->context == (is_legacy(stream) ? call.context : stream->context), CUDA_ERROR_INVALID_HANDLE)
    if (is_legacy(stream)) {
        if (CUresult error = refuse_legacy_stream(call.context)) {
            return error;
        }
    }
    Capture* capture = capture_of(stream);
    REQUIRE(capture == nullptr || capture->valid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
    event->recorded = true;
    event->time = std::chrono::steady_clock::now();
    event->capture = capture == nullptr ? nullptr : stream->capture;
    if (capture != nullptr) {
        event->captured = capture->last[stream];
        event->joined = capture->joined[stream];
        event->joined.insert(stream);
        event->queued = nullptr;
    } else if (late::is_on()) {
        event->queued = late::mark(call.context, stream);
    }
    return CUDA_SUCCESS;
}

EXPORT cuEventRecordWithFlags(Event* event, Stream* stream, unsigned flags) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    REQUIRE(flags == 0, flags == EXTERNAL && capture_of(stream) != nullptr ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE)
    return cuEventRecord(event, stream);
}

EXPORT cuEventSynchronize(Event* event) {
    BEGIN(CONTEXT)
    CUresult error = refuse_to_look_at(event);
    return error != CUDA_SUCCESS ? error : late::finish(call.context, event->queued);
}

EXPORT cuEventQuery(Event* event) {
    BEGIN(CONTEXT)
    CUresult error = refuse_to_look_at(event);
    return error != CUDA_SUCCESS ? error : late::query(call.context, event->queued);
}

EXPORT cuEventElapsedTime(float* milliseconds, Event* start, Event* end) {
    BEGIN(CONTEXT)
    REQUIRE(events.has(start) && events.has(end) && start->recorded && end->recorded, CUDA_ERROR_INVALID_HANDLE)
    REQUIRE(!(start->flags & EVENT_WITHOUT_TIME) && !(end->flags & EVENT_WITHOUT_TIME), CUDA_ERROR_INVALID_HANDLE)
    for (Event* event : {start, end}) {
        if (event->capture != nullptr) {
            return forbid(*event->capture, CUDA_ERROR_CAPTURED_EVENT);
        }
        if (event->queued != nullptr) {
            REQUIRE(event->queued->done, CUDA_ERROR_NOT_READY)
            event->time = event->queued->time;
        }
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
    return CUDA_SUCCESS;
}

// Capture

EXPORT cuStreamBeginCapture_v2(Stream* stream, int mode) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    REQUIRE(mode >= CAPTURE_GLOBAL && mode <= CAPTURE_RELAXED, CUDA_ERROR_INVALID_VALUE)
    REQUIRE(!is_legacy(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
    if (stream->capture != nullptr) {
        return forbid(*stream->capture, CUDA_ERROR_ILLEGAL_STATE);
    }
    stream->capture = std::make_shared<Capture>(
            Capture{stream, CaptureMode(mode), std::this_thread::get_id(), true, next_id++, {}, {stream}});
    return CUDA_SUCCESS;
}

EXPORT cuStreamEndCapture(Stream* stream, Graph** graph) {
    BEGIN(CONTEXT)
    REQUIRE(streams.has(stream), CUDA_ERROR_INVALID_HANDLE)
    REQUIRE(graph != nullptr, CUDA_ERROR_INVALID_VALUE)
    *graph = nullptr;
    std::shared_ptr<Capture> capture = stream->capture;
    REQUIRE(capture != nullptr, CUDA_ERROR_ILLEGAL_STATE)
    if (capture->mode != CAPTURE_RELAXED && capture->thread != std::this_thread::get_id()) {
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    if (capture->origin != stream) {
        return forbid(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    }
    for (Stream* member : capture->streams) {
        member->capture = nullptr;
    }
    capture->origin = nullptr;
    REQUIRE(capture->valid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
    // The next work of the origin would wait for every stream that came to the capture, and for all work.
    std::unordered_set<const Node*> ends;
    for (const auto& node : capture->nodes) {
        for (const Node* before : node->after) {
            ends.erase(before);
        }
        ends.insert(node.get());
    }
    for (const Node* awaited : capture->last[stream]) {
        ends.erase(awaited);
    }
    const auto& joined = capture->joined[stream];
    bool all = std::all_of(capture->streams.begin(), capture->streams.end(),
            [&](Stream* member) { return member == stream || joined.count(member) != 0; });
    REQUIRE(all && ends.empty(), CUDA_ERROR_STREAM_CAPTURE_UNJOINED)
    *graph = new Graph{capture->nodes};
    graphs.insert(*graph);
    return CUDA_SUCCESS;
}

EXPORT cuStreamIsCapturing(Stream* stream, int* status) {
    BEGIN(CONTEXT)
    REQUIRE(is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    Capture* capture = capture_of(stream);
    *status = capture == nullptr ? 0 : capture->valid ? 1 : 2;
    return CUDA_SUCCESS;
}

EXPORT cuStreamGetCaptureInfo_v2(Stream* stream, int* status, unsigned long long* id, Graph** graph, const Node*** dependencies,
        size_t* dependency_count) {
    CUresult error = cuStreamIsCapturing(stream, status);
    REQUIRE(error == CUDA_SUCCESS, error)
    if (id != nullptr && *status != 0) {
        *id = capture_of(stream)->id;
    }
    if (graph != nullptr) {
        *graph = nullptr;
    }
    if (dependencies != nullptr) {
        *dependencies = nullptr;
    }
    if (dependency_count != nullptr) {
        *dependency_count = 0;
    }
    return CUDA_SUCCESS;
}

EXPORT cuThreadExchangeStreamCaptureMode(int* mode) {
    BEGIN(INIT)
    REQUIRE(*mode >= CAPTURE_GLOBAL && *mode <= CAPTURE_RELAXED, CUDA_ERROR_INVALID_VALUE)
    CaptureMode before = thread_mode;
    thread_mode = CaptureMode(*mode);
    *mode = before;
    return CUDA_SUCCESS;
}

// Graphs

EXPORT cuGraphCreate(Graph** graph, unsigned) {
    BEGIN(CONTEXT)
    *graph = new Graph();
    graphs.insert(*graph);
    return CUDA_SUCCESS;
}

EXPORT cuGraphDestroy(Graph* graph) {
    BEGIN(CONTEXT)
    REQUIRE(graphs.erase(graph) != 0, CUDA_ERROR_INVALID_VALUE)
    delete graph;
    return CUDA_SUCCESS;
}

EXPORT cuGraphGetNodes(Graph* graph, Node** nodes, size_t* count) {
    BEGIN(CONTEXT)
    REQUIRE(graphs.count(graph) != 0 && count != nullptr, CUDA_ERROR_INVALID_VALUE)
    if (nodes != nullptr) {
        for (size_t i = 0; i < *count; i++) {
            nodes[i] = i < graph->nodes.size() ? graph->nodes[i].get() : nullptr;
        }
    }
    if (nodes == nullptr || *count > graph->nodes.size()) {
        *count = graph->nodes.size();
    }
    return CUDA_SUCCESS;
}

EXPORT cuGraphNodeGetType(Node* node, int* type) {
    BEGIN(CONTEXT)
    REQUIRE(node != nullptr, CUDA_ERROR_INVALID_VALUE)
    *type = node->work.type;
    return CUDA_SUCCESS;
}

EXPORT cuGraphInstantiateWithFlags(GraphExec** exec, Graph* graph, unsigned long long) {
    BEGIN(CONTEXT)
    REQUIRE(graphs.count(graph) != 0, CUDA_ERROR_INVALID_VALUE)
    GraphExec made{call.context, {}};
    std::unordered_map<const Node*, size_t> places;
    for (const auto& node : graph->nodes) {
        std::vector<size_t> after;
        for (const Node* before : node->after) {
            after.push_back(places.at(before));
        }
        places[node.get()] = made.work.size();
        made.work.push_back({node.get(), node->work, std::move(after)});
    }
    *exec = graph_execs.add(std::move(made));
    return CUDA_SUCCESS;
}

EXPORT cuGraphInstantiate_v2(GraphExec** exec, Graph* graph, Node** error_node, char* log, size_t log_bytes) {
    if (error_node != nullptr) {
        *error_node = nullptr;
    }
    if (log != nullptr && log_bytes > 0) {
        log[0] = 0;
    }
    return cuGraphInstantiateWithFlags(exec, graph, 0);
}

struct InstantiateParams {
    unsigned long long flags;
    Stream* upload;
    Node* error_node;
    int result;
};

EXPORT cuGraphInstantiateWithParams(GraphExec** exec, Graph* graph, InstantiateParams* params) {
    params->error_node = nullptr;
    params->result = 0;
    return cuGraphInstantiateWithFlags(exec, graph, params->flags);
}

EXPORT cuGraphUpload(GraphExec* exec, Stream* stream) {
    BEGIN(CONTEXT)
    REQUIRE(graph_execs.has(exec) && is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    return CUDA_SUCCESS;
}

EXPORT cuGraphLaunch(GraphExec* exec, Stream* stream) {
    BEGIN(CONTEXT)
    REQUIRE(graph_execs.has(exec) && is_stream(stream), CUDA_ERROR_INVALID_HANDLE)
    if (late::is_on() && capture_of(stream) == nullptr) {
        if (is_legacy(stream)) {
            if (CUresult error = refuse_legacy_stream(call.context)) {
                return error;
            }
        }
        late::add(call.context, stream, *exec);
        return CUDA_SUCCESS;
    }
    for (const GraphExec::Entry& entry : exec->work) {
        if (CUresult error = submit(call.context, stream, entry.work)) {
            return error;
        }
    }
    return after_work(call.context);
}

EXPORT cuGraphExecDestroy(GraphExec* exec) {
    BEGIN(CONTEXT)
    REQUIRE(graph_execs.has(exec), CUDA_ERROR_INVALID_HANDLE)
    graph_execs.remove(exec);
    return CUDA_SUCCESS;
}

// CUDA_KERNEL_NODE_PARAMS_v2
struct KernelNodeParams {
    void* function;
    uint3 grid, block;
    unsigned shared;
    void** params;
    void** extra;
    void* kernel;
    Context* context;
};

EXPORT cuGraphKernelNodeGetParams_v2(Node* node, KernelNodeParams* params) {
    BEGIN(CONTEXT)
    REQUIRE(node != nullptr && node->work.launch != nullptr, CUDA_ERROR_INVALID_VALUE)
    Launch& launch = *node->work.launch;
    *params = {launch.function, launch.grid, launch.block, launch.shared, launch.params.data(), nullptr, nullptr, node->work.context};
    return CUDA_SUCCESS;
}

EXPORT cuGraphExecKernelNodeSetParams_v2(GraphExec* exec, Node* node, const KernelNodeParams* params) {
    BEGIN(CONTEXT)
    REQUIRE(graph_execs.has(exec), CUDA_ERROR_INVALID_HANDLE)
    for (GraphExec::Entry& entry : exec->work) {
        if (entry.node == node && entry.work.launch != nullptr) {
            return make_launch(call.context, params->function, params->grid, params->block, params->shared, params->params, params->extra,
                    entry.work.launch);
        }
    }
    return CUDA_ERROR_INVALID_VALUE;
}
