// Drives the SIMT driver with SIMT_LATE=1, where work is done when somebody waits for it.
#include "selftest.h"

namespace {

// What the synchronization after these calls must find.
void fault(const char* what, const char* words, const std::function<void()>& calls) {
    CUresult error = 0;
    std::string text = errors_of([&] {
        calls();
        error = cuCtxSynchronize();
    });
    check(what, error == 700 && text.find(words) != std::string::npos, std::to_string(error) + ", " + text);
    renew();
}

// Whatever work needs has gone before it runs.
void lifetimes() {
    fault("a kernel runs after its memory was freed", "kernel add_one, block (0,0,0), thread (0,0,0): reads 4 bytes", [] {
        CUdeviceptr x = upload(ramp(100));
        launch_on(nullptr, "add_one", {1}, {128}, x, 100);
        cuMemFree_v2(x);
    });
    fault("a fill runs after its memory was freed", "cuMemset writes 400 bytes", [] {
        CUdeviceptr x = upload(ramp(100));
        cuMemsetD32Async(x, 0, 100, nullptr);
        cuMemFree_v2(x);
    });
    fault("a copy runs after the memory that it reads was freed", "cuMemcpy reads 400 bytes", [] {
        CUdeviceptr x = upload(ramp(100)), y = memory_of(400);
        cuMemcpyDtoDAsync_v2(y, x, 400, nullptr);
        cuMemFree_v2(x);
    });
    fault("a product runs after its memory was freed", "that was freed", [] {
        CUdeviceptr x = upload(ramp(4)), y = memory_of(16);
        void* blas;
        float one = 1.0f, zero = 0.0f;
        cublasCreate_v2(&blas);
        cublasGemmEx(blas, 0, 0, 2, 2, 2, &one, reinterpret_cast<void*>(x), 0, 2, reinterpret_cast<void*>(x), 0, 2, &zero,
                reinterpret_cast<void*>(y), 0, 2, 68, -1);
        cuMemFree_v2(x);
    });
    fault("a copy runs after its page-locked memory was freed", "cuMemcpy reads 400 bytes", [] {
        CUdeviceptr x = memory_of(400);
        void* host;
        cuMemAllocHost_v2(&host, 400);
        cuMemcpyHtoDAsync_v2(x, host, 400, nullptr);
        cuMemFreeHost(host);
    });
    fault("a kernel runs after its module was unloaded", "kernel add_one runs when its module has been unloaded", [] {
        launch_on(nullptr, "add_one", {1}, {128}, upload(ramp(100)), 100);
        cuModuleUnload(module);
    });

    CUdeviceptr gone = memory_of(4);
    cuMemsetD32Async(gone, 0, 1, nullptr);
    cuMemFree_v2(gone);
    CUresult error = 0;
    errors_of([&] { error = cuDevicePrimaryCtxRelease_v2(0); });
    expect("the end of a context says what its work did wrong", error, 700);
    cuDevicePrimaryCtxRetain(&context, 0);
    renew();
}

// What is done when, and in which order.
void order() {
    void* stream;
    void* side;
    void* event;
    void* other_event;
    cuStreamCreate(&stream, 1);
    cuStreamCreate(&side, 1);
    cuEventCreate(&event, 0);
    cuEventCreate(&other_event, 0);
    CUdeviceptr x = upload(std::vector<int>(1)), y = upload(std::vector<int>(1));
    void* host;
    cuMemAllocHost_v2(&host, 4);
    int& pinned = *static_cast<int*>(host);
    pinned = 1;
    cuMemcpyHtoDAsync_v2(x, &pinned, 4, stream);
    pinned = 2;
    cuStreamSynchronize(stream);
    check("page-locked memory is read late", download<int>(x, 1)[0] == 2);
    int pageable = 3;
    cuMemcpyHtoDAsync_v2(x, &pageable, 4, stream);
    pageable = 4;
    cuStreamSynchronize(stream);
    check("pageable memory is read at the call", download<int>(x, 1)[0] == 3);
    cuMemsetD32Async(x, 5, 1, stream);
    cuMemcpyDtoHAsync_v2(&pinned, x, 4, stream);
    check("page-locked memory is written late", pinned == 2);
    cuMemcpyDtoHAsync_v2(&pageable, x, 4, stream);
    check("a copy to pageable memory waits for its stream", pageable == 5 && pinned == 5);
    cuMemsetD32Async(x, 6, 1, stream);
    check("a copy on the legacy stream does not wait for a stream that is NON_BLOCKING", download<int>(x, 1)[0] == 5);

    expect("a stream that has work", cuStreamQuery(stream), 600);
    expect("asked again", cuStreamQuery(stream), 0);
    check("then it was done", download<int>(x, 1)[0] == 6);
    cuMemsetD32Async(x, 7, 1, stream);
    cuEventRecord(event, stream);
    cuMemsetD32Async(x, 8, 1, stream);
    float milliseconds;
    expect("the time of an event to come", cuEventElapsedTime(&milliseconds, event, event), 600);
    expect("an event to come", cuEventQuery(event), 600);
    expect("asked again", cuEventQuery(event), 0);
    expect("its time", cuEventElapsedTime(&milliseconds, event, event), 0);
    check("what comes after it is not done", download<int>(x, 1)[0] == 7);
    cuEventRecord(event, stream);
    expect("an event that is waited for", cuEventSynchronize(event), 0);
    check("what comes before it is done", download<int>(x, 1)[0] == 8);

    bool ordered = true;
    int unordered = 0;
    for (int round = 0; round < 20; round++) {  // so that either stream comes first at times
        int first = 10 * round + 10;
        cuMemsetD32Async(x, unsigned(first), 1, stream);
        cuEventRecord(event, stream);
        cuStreamWaitEvent(side, event, 0);
        cuMemcpyDtoDAsync_v2(y, x, 4, side);
        cuEventRecord(other_event, side);
        cuStreamWaitEvent(stream, other_event, 0);
        cuEventDestroy_v2(other_event);
        cuEventCreate(&other_event, 0);
        cuMemsetD32Async(x, unsigned(first + 1), 1, stream);
        cuStreamSynchronize(stream);
        ordered &= download<int>(x, 1)[0] == first + 1 && download<int>(y, 1)[0] == first;

        cuMemsetD32Async(x, unsigned(first + 2), 1, stream);
        cuEventRecord(event, stream);
        cuStreamWaitEvent(side, event, 0);
        cuMemcpyDtoDAsync_v2(y, x, 4, side);
        cuEventRecord(other_event, side);
        cuMemsetD32Async(x, unsigned(first + 3), 1, stream);
        cuStreamWaitEvent(stream, other_event, 0);
        cuStreamSynchronize(stream);
        unordered += download<int>(y, 1)[0] != first + 2;
    }
    check("events order streams", ordered);
    check("without them they run in either order", unordered > 0 && unordered < 20, std::to_string(unordered) + " of 20");

    void* blocking;
    cuStreamCreate(&blocking, 0);
    cuMemsetD32Async(x, 30, 1, nullptr);
    cuMemcpyDtoDAsync_v2(y, x, 4, blocking);
    cuMemsetD32Async(x, 31, 1, nullptr);
    cuStreamDestroy_v2(blocking);
    expect("the legacy stream waits for a blocking one that was destroyed", cuStreamSynchronize(nullptr), 0);
    check("and that one for the legacy stream", download<int>(y, 1)[0] == 30);
    cuMemsetD32Async(x, 32, 1, side);
    cuStreamDestroy_v2(side);
    cuCtxSynchronize();
    check("work outlives its stream", download<int>(x, 1)[0] == 32);
}

// A graph of two nodes, the second of which may have to wait for the first.
void* two_fills(void* stream, CUdeviceptr x, bool ordered) {
    void* side;
    void* fork;
    void* join;
    void* graph;
    void* exec;
    cuStreamCreate(&side, 1);
    cuEventCreate(&fork, 0);
    cuEventCreate(&join, 0);
    cuStreamBeginCapture_v2(stream, 0);
    cuEventRecord(fork, stream);
    cuStreamWaitEvent(side, fork, 0);
    cuMemsetD32Async(x, 1, 1, side);
    cuEventRecord(join, side);
    if (ordered) {
        cuStreamWaitEvent(stream, join, 0);
    }
    cuMemsetD32Async(x, 2, 1, stream);
    cuStreamWaitEvent(stream, join, 0);
    expect("a graph of two streams", cuStreamEndCapture(stream, &graph), 0);
    cuGraphInstantiateWithFlags(&exec, graph, 0);
    cuGraphDestroy(graph);
    return exec;
}

void graphs() {
    void* stream;
    cuStreamCreate(&stream, 1);
    CUdeviceptr x = upload(std::vector<int>(1));
    for (bool ordered : {true, false}) {
        void* exec = two_fills(stream, x, ordered);
        int right = 0;
        for (int i = 0; i < 20; i++) {
            cuGraphLaunch(exec, stream);
            cuStreamSynchronize(stream);
            right += download<int>(x, 1)[0] == 2;
        }
        check(ordered ? "the order of a graph is kept" : "what a graph does not order runs in either order",
                ordered ? right == 20 : right > 0 && right < 20, std::to_string(right) + " of 20");
    }

    CUdeviceptr floats = upload(std::vector<float>(1)), others = upload(std::vector<float>(1));
    void* graph;
    void* exec;
    void* node;
    size_t count = 1;
    cuStreamBeginCapture_v2(stream, 0);
    launch_on(stream, "add_one", {1}, {32}, floats, 1);
    cuStreamEndCapture(stream, &graph);
    cuGraphGetNodes(graph, &node, &count);
    cuGraphInstantiateWithFlags(&exec, graph, 0);
    cuGraphLaunch(exec, stream);
    struct {
        void* function;
        unsigned dimensions[6], shared;
        void** params;
        void** extra;
        void* kernel;
        void* context;
    } params;
    cuGraphKernelNodeGetParams_v2(node, &params);
    int one = 1;
    void* values[] = {&others, &one};
    params.params = values;
    expect("other parameters for a graph", cuGraphExecKernelNodeSetParams_v2(exec, node, &params), 0);
    cuGraphLaunch(exec, stream);
    cuGraphLaunch(exec, stream);
    one = 1000;
    expect("a graph that waits is destroyed", cuGraphExecDestroy(exec), 0);
    check("nothing has run yet", download<float>(floats, 1)[0] == 0);
    cuStreamSynchronize(stream);
    check("launches keep the parameters of their time", download<float>(floats, 1)[0] == 1 && download<float>(others, 1)[0] == 2);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "late needs the path of kernels.ptx\n");
        return 2;
    }
    return run_checks(text_of(arguments[1]), [] {
        lifetimes();
        order();
        graphs();
    });
}
