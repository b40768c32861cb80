// What NVIDIA's documentation forbids, done on purpose: the driver must refuse each with the error that a GPU's driver gives.
#include "selftest.h"

#include <thread>

extern "C" {
CUresult cuEventElapsedTime(float*, void*, void*);
CUresult cuEventQuery(void*);
CUresult cuEventSynchronize(void*);
CUresult cuFuncGetAttribute(int*, int, void*);
CUresult cuMemAllocHost_v2(void**, size_t);
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr, const void*, size_t, void*);
CUresult cuMemFreeHost(void*);
CUresult cuStreamQuery(void*);
CUresult cuThreadExchangeStreamCaptureMode(int*);
int cublasDestroy_v2(void*);
int cublasSetMathMode(void*, int);
int cublasSetPointerMode_v2(void*, int);
}

namespace {

constexpr unsigned NON_BLOCKING = 1;
enum Mode { GLOBAL, THREAD_LOCAL, RELAXED };
enum Type { FP32 = 0, INT8 = 3, INT32 = 10, BF16 = 14 };

// Images that no driver takes, or this one does not.
void images() {
    auto load = [](const std::string& what, const std::string& image, CUresult wanted, const char* words) {
        void* other;
        CUresult error = 0;
        std::string text = errors_of([&] { error = cuModuleLoadData(&other, image.c_str()); });
        check(what, error == wanted && text.find(words) != std::string::npos, std::to_string(error) + ", " + text);
    };
    const std::string header = ".version 8.0\n.target sm_80\n.address_size 64\n", body = ".visible .entry nothing()\n{\n";
    load("an image that is not PTX", "\177ELF", 200, "not PTX text");
    load("text that is not PTX", "this is no PTX", 200, "not PTX text");
    load("PTX that begins with its target", ".target sm_80\n.version 8.0\n", 200, "not PTX text");
    load("PTX without a version behind a comment", "// nothing\n.target sm_80\n", 218, "does not begin with .version");
    load("PTX of no version", ".version eight\n.target sm_80\n", 218, "does not begin with .version");
    load("PTX without a target", ".version 8.0\n.address_size 64\n", 218, "no .target");
    load("PTX with a target that there is not", ".version 8.0\n.target sm_77\n", 218, "no .target");
    load("text that is not PTX behind a header", header + "this is no PTX", 218, "");
    load("PTX that ends too early", header + body + "ret;\n", 218, "");
    load("an instruction that there is not", header + body + "retire;\n}\n", 218, "retire");
    load("a pragma that there is not", header + body + ".pragma \"roll\";\nret;\n}\n", 218, "pragma roll is not known");
    load("a pragma that is newer than the PTX", header + body + ".pragma \"used_bytes_mask 15\";\nret;\n}\n", 218,
            "used_bytes_mask is newer than the .version");
    load("the same pragma in newer PTX", ".version 8.3\n.target sm_80\n" + body + ".pragma \"used_bytes_mask 15\";\nret;\n}\n", 218,
            "nothing, which libkernels.so does not have");
    load("PTX that is newer than the driver", ".version 8.6\n.target sm_80\n", 222, "this driver knows 8.5");
    cuCtxSetLimit(DRIVER, 13000);
    load("PTX for a newer device", ".version 8.6\n.target sm_100\n", 209, "this device is sm_90");
    cuCtxSetLimit(DRIVER, 12000);
    load("PTX that is newer than an old driver", ".version 8.1\n.target sm_80\n", 222, "this driver knows 8.0");
    load("a target that is newer than the PTX", ".version 8.0\n.target sm_100\n", 218, "does not know the target sm_100");
    cuCtxSetLimit(CAPABILITY, 80);
    load("PTX for a device newer than an old one", ".version 8.0\n.target sm_90\n", 209, "this device is sm_80");
    cuCtxSetLimit(CAPABILITY, 100);
    load("PTX for one device only", ".version 8.0\n.target sm_90a\n", 209, "this device is sm_100");
    cuCtxSetLimit(RESET, 0);

    char log[100];
    int options[] = {5, 6};  // CU_JIT_ERROR_LOG_BUFFER and its size
    auto log_of = [&](const std::string& image) {
        void* other;
        void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
        errors_of([&] { cuModuleLoadDataEx(&other, image.c_str(), 2, options, values); });
        return std::string(log);
    };
    check("the log of PTX that is damaged", log_of(header + body + "retire;\n}\n").find("retire") != std::string::npos, log);
    check("the log of what is not PTX", log_of("int main").empty(), log);
}

// Does something that a capture of this mode forbids: it must have this error, and the capture be lost.
void forbidden(const std::string& what, int mode, unsigned stream_flags, CUresult wanted, const std::function<CUresult(void* stream)>& call) {
    void *stream, *graph;
    cuStreamCreate(&stream, stream_flags);
    cuStreamBeginCapture_v2(stream, mode);
    CUresult error = 0, end = 0;
    errors_of([&] {
        error = call(stream);
        end = cuStreamEndCapture(stream, &graph);
    });
    check(what, error == wanted && end == 901 && graph == nullptr, std::to_string(error) + ", then " + std::to_string(end));
    cuStreamDestroy_v2(stream);
}

// The same, where it must work.
void allowed(const std::string& what, int mode, const std::function<CUresult(void* stream)>& call) {
    void *stream, *graph = nullptr;
    cuStreamCreate(&stream, NON_BLOCKING);
    cuStreamBeginCapture_v2(stream, mode);
    CUresult error = call(stream), end = cuStreamEndCapture(stream, &graph);
    check(what, error == 0 && end == 0 && graph != nullptr, std::to_string(error) + ", then " + std::to_string(end));
    cuGraphDestroy(graph);
    cuStreamDestroy_v2(stream);
}

CUresult in_another_thread(const std::function<CUresult()>& call) {
    CUresult error = 0;
    std::thread([&] {
        cuCtxSetCurrent(context);
        error = call();
    }).join();
    return error;
}

void captures() {
    CUdeviceptr x = memory_of(256), y;
    void *other, *event, *later, *ignored;
    cuStreamCreate(&other, NON_BLOCKING);
    cuEventCreate(&event, 0);
    cuEventCreate(&later, 0);
    cuEventRecord(event, other);
    cuEventRecord(later, other);
    void* locked;
    cuMemAllocHost_v2(&locked, 256);
    float host[64], milliseconds;

    // What looks at a stream that is captured, or at all of a context, whatever the mode.
    for (int mode : {GLOBAL, THREAD_LOCAL, RELAXED}) {
        std::string in = " in a capture of mode " + std::to_string(mode);
        forbidden("to wait for the stream" + in, mode, NON_BLOCKING, 900, [](void* s) { return cuStreamSynchronize(s); });
        forbidden("to query the stream" + in, mode, NON_BLOCKING, 900, [](void* s) { return cuStreamQuery(s); });
        forbidden("to wait for the context" + in, mode, NON_BLOCKING, 900, [](void*) { return cuCtxSynchronize(); });
        forbidden("to wait for the context from another thread" + in, mode, NON_BLOCKING, 900,
                [](void*) { return in_another_thread([] { return cuCtxSynchronize(); }); });
        forbidden("to copy from pageable memory" + in, mode, NON_BLOCKING, 900,
                [&](void* s) { return cuMemcpyHtoDAsync_v2(x, host, sizeof host, s); });
        forbidden("to copy to pageable memory" + in, mode, NON_BLOCKING, 900,
                [&](void* s) { return cuMemcpyDtoHAsync_v2(host, x, sizeof host, s); });
        allowed("to copy from page-locked memory" + in, mode, [&](void* s) { return cuMemcpyHtoDAsync_v2(x, locked, 256, s); });
        allowed("to fill" + in, mode, [&](void* s) { return cuMemsetD32Async(x, 0, 64, s); });
        // The legacy stream waits for those that are not NON_BLOCKING.
        forbidden("to wait for the legacy stream" + in, mode, 0, 906, [](void*) { return cuStreamSynchronize(nullptr); });
        forbidden("to query the legacy stream" + in, mode, 0, 906, [](void*) { return cuStreamQuery(nullptr); });
        forbidden("to launch on the legacy stream" + in, mode, 0, 906,
                [&](void*) { return launch_on(nullptr, "add_one", {1}, {32}, x, 32); });
        forbidden("to record in the legacy stream" + in, mode, 0, 906, [&](void*) { return cuEventRecord(later, nullptr); });
        forbidden("to copy" + in, mode, 0, 906, [&](void*) { return cuMemcpyDtoH_v2(host, x, sizeof host); });
        forbidden("to fill at once" + in, mode, 0, 906, [&](void*) { return cuMemsetD32_v2(x, 0, 64); });
        forbidden("to fill from another thread" + in, mode, 0, 906,
                [&](void*) { return in_another_thread([&] { return cuMemsetD32_v2(x, 0, 64); }); });
    }

    // What may be unsafe: the mode of the capture and that of the thread say whether it is refused.
    const std::pair<const char*, std::function<CUresult()>> unsafe[] = {
        {"cuMemAlloc", [&] { return cuMemAlloc_v2(&y, 16); }},
        {"cuMemFree", [&] { cuMemFree_v2(y); return cuMemAlloc_v2(&y, 16); }},
        {"cuMemAllocHost", [&] { return cuMemAllocHost_v2(&ignored, 16); }},
        {"cuMemFreeHost", [&] { return cuMemFreeHost(nullptr); }},
        {"cuModuleLoadData", [&] { return cuModuleLoadData(&ignored, ptx.c_str()); }},
        {"cuEventSynchronize", [&] { return cuEventSynchronize(event); }},
        {"cuEventQuery", [&] { return cuEventQuery(event); }},
        {"cuStreamSynchronize of another stream", [&] { return cuStreamSynchronize(other); }},
        {"cuStreamQuery of another stream", [&] { return cuStreamQuery(other); }},
        {"cuStreamSynchronize of the legacy stream", [&] { return cuStreamSynchronize(nullptr); }},
        {"cuMemcpyDtoH", [&] { return cuMemcpyDtoH_v2(host, x, sizeof host); }},
        {"cuMemsetD32", [&] { return cuMemsetD32_v2(x, 0, 64); }},
    };
    cuMemAlloc_v2(&y, 16);
    for (const auto& [name, call] : unsafe) {
        std::string what = name;
        auto same = [&](void*) { return call(); };
        auto elsewhere = [&](void*) { return in_another_thread(call); };
        auto relaxed = [&](int mode) {
            return [&, mode](void*) {
                return in_another_thread([&] {
                    int own = mode;
                    cuThreadExchangeStreamCaptureMode(&own);
                    return call();
                });
            };
        };
        if (what == "cuMemFreeHost") {
            continue;
        }
        forbidden(what + " in a global capture", GLOBAL, NON_BLOCKING, 900, same);
        forbidden(what + " in a capture of the thread", THREAD_LOCAL, NON_BLOCKING, 900, same);
        allowed(what + " in a relaxed capture", RELAXED, same);
        forbidden(what + " during a global capture of another thread", GLOBAL, NON_BLOCKING, 900, elsewhere);
        allowed(what + " during a capture that is another thread's own", THREAD_LOCAL, elsewhere);
        allowed(what + " of a thread that looks after itself", GLOBAL, relaxed(THREAD_LOCAL));
        allowed(what + " of a relaxed thread", GLOBAL, relaxed(RELAXED));
    }

    // Events tie streams together, but no capture to what lies outside of it.
    forbidden("to wait for an event from before", GLOBAL, NON_BLOCKING, 905, [&](void* s) { return cuStreamWaitEvent(s, event, 0); });
    forbidden("to wait for a captured event", RELAXED, NON_BLOCKING, 907, [&](void* s) {
        cuEventRecord(later, s);
        return cuEventSynchronize(later);
    });
    forbidden("to query a captured event", RELAXED, NON_BLOCKING, 907, [&](void* s) {
        cuEventRecord(later, s);
        return cuEventQuery(later);
    });
    forbidden("the time to a captured event", RELAXED, NON_BLOCKING, 907, [&](void* s) {
        cuEventRecord(later, s);
        return cuEventElapsedTime(&milliseconds, event, later);
    });
    expect("to query an event of a capture that has ended", cuEventQuery(later), 907);
    forbidden("to wait within a capture for an event of one that has ended", RELAXED, NON_BLOCKING, 907,
            [&](void* s) { return cuStreamWaitEvent(s, later, 0); });
    forbidden("to begin twice", GLOBAL, NON_BLOCKING, 401, [](void* s) { return cuStreamBeginCapture_v2(s, GLOBAL); });
    forbidden("work once a capture is lost", GLOBAL, NON_BLOCKING, 901, [&](void* s) {
        cuStreamSynchronize(s);
        return cuMemsetD32Async(x, 0, 64, s);
    });

    void *stream, *graph;
    cuStreamCreate(&stream, NON_BLOCKING);
    cuStreamBeginCapture_v2(stream, RELAXED);
    cuStreamBeginCapture_v2(other, RELAXED);
    cuEventRecord(later, stream);
    expect("captures that would become one", cuStreamWaitEvent(other, later, 0), 902);
    expect("the first of them", cuStreamEndCapture(stream, &graph), 901);
    expect("the second of them", cuStreamEndCapture(other, &graph), 901);
    cuStreamBeginCapture_v2(stream, GLOBAL);
    cuEventRecord(later, stream);
    cuStreamWaitEvent(other, later, 0);
    expect("the end of a capture on a stream that came to it", cuStreamEndCapture(other, &graph), 903);
    expect("the capture", cuStreamEndCapture(stream, &graph), 901);
    cuStreamBeginCapture_v2(stream, THREAD_LOCAL);
    expect("the end of a capture by another thread", in_another_thread([&] { return cuStreamEndCapture(stream, &graph); }), 908);
    expect("by its own", cuStreamEndCapture(stream, &graph), 0);
    cuGraphDestroy(graph);
    cuStreamBeginCapture_v2(stream, RELAXED);
    expect("the end of a relaxed capture by another thread", in_another_thread([&] { return cuStreamEndCapture(stream, &graph); }), 0);
    cuGraphDestroy(graph);
    void* third;
    cuStreamCreate(&third, NON_BLOCKING);
    auto fork = [&](bool more) {
        cuStreamBeginCapture_v2(stream, GLOBAL);
        cuEventRecord(later, stream);
        cuStreamWaitEvent(other, later, 0);
        cuEventRecord(later, other);
        cuStreamWaitEvent(third, later, 0);
        cuMemsetD32Async(x, 0, 8, third);
        cuEventRecord(later, third);
        cuStreamWaitEvent(other, later, 0);
        cuMemsetD32Async(x, 1, 8, other);
        cuEventRecord(later, other);
        if (more) {
            cuMemsetD32Async(x, 2, 8, other);
        }
        cuStreamWaitEvent(stream, later, 0);
        return cuStreamEndCapture(stream, &graph);
    };
    expect("streams that are waited for by way of others", fork(false), 0);
    cuGraphDestroy(graph);
    expect("work behind the event that is waited for", fork(true), 904);
    cuStreamBeginCapture_v2(stream, GLOBAL);
    cuEventRecord(later, stream);
    cuStreamWaitEvent(other, later, 0);
    expect("a stream that came to a capture for nothing, and did not come back", cuStreamEndCapture(stream, &graph), 904);
    expect("an end without a beginning", cuStreamEndCapture(stream, &graph), 401);
    expect("a capture of the legacy stream", cuStreamBeginCapture_v2(nullptr, GLOBAL), 900);
    cuMemFreeHost(locked);
    renew();
}

// The resources of a block, and the limits of grids.
void launches() {
    constexpr int STATIC_SHARED = 1, DYNAMIC_SHARED = 8;
    CUdeviceptr x = memory_of(4096);
    auto launch_of = [&](const char* name, std::vector<unsigned> sizes, unsigned shared) {
        void* function;
        cuModuleGetFunction(&function, module, name);
        int n = 0;
        void* pointers[] = {&x, &x, &n};
        CUresult error = 0;
        errors_of([&] {
            error = cuLaunchKernel(function, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], shared, nullptr, pointers, nullptr);
        });
        return error;
    };
    expect("a grid with nothing along z", launch_of("add_one", {1, 1, 0, 32, 1, 1}, 0), 1);
    expect("a block with nothing along y", launch_of("add_one", {1, 1, 1, 32, 0, 1}, 0), 1);
    expect("2^31 blocks along x", launch_of("add_one", {1u << 31, 1, 1, 32, 1, 1}, 0), 1);
    expect("65536 blocks along y", launch_of("add_one", {1, 65536, 1, 32, 1, 1}, 0), 1);
    expect("65536 blocks along z", launch_of("add_one", {1, 1, 65536, 32, 1, 1}, 0), 1);
    expect("1025 threads", launch_of("add_one", {1, 1, 1, 1025, 1, 1}, 0), 1);
    expect("65 threads along z", launch_of("add_one", {1, 1, 1, 1, 1, 65}, 0), 1);
    expect("more threads than .maxntid", launch_of("add_one", {1, 1, 1, 257, 1, 1}, 0), 701);
    expect("as many as .maxntid", launch_of("add_one", {1, 1, 1, 256, 1, 1}, 0), 0);

    void *function, *other;
    cuModuleGetFunction(&function, module, "reverse");
    expect("48 KB of shared memory", launch_of("reverse", {1, 1, 1, 32, 1, 1}, 48 * 1024), 0);
    expect("more than that, unasked", launch_of("reverse", {1, 1, 1, 32, 1, 1}, 48 * 1024 + 1), 1);
    expect("more than there is, asked for", cuFuncSetAttribute(function, DYNAMIC_SHARED, 227 * 1024 + 1), 1);
    expect("all that there is, asked for", cuFuncSetAttribute(function, DYNAMIC_SHARED, 227 * 1024), 0);
    expect("all that there is", launch_of("reverse", {1, 1, 1, 32, 1, 1}, 227 * 1024), 0);

    // reverse as its PTX would be with shared memory of its own, and without a bound of threads.
    auto reverse = [](const std::string& bound, unsigned bytes) {
        return ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry reverse(.param .u64 a, .param .u64 b, .param .u32 c)\n" + bound
                + "{\n.shared .align 4 .b8 own[" + std::to_string(bytes) + "];\n.reg .b32 %r<2>;\nmov.u32 %r1, own;\nret;\n}\n";
    };
    CUresult error = 0;
    std::string text = errors_of([&] { error = cuModuleLoadData(&other, reverse(".maxntid 256, 1, 1\n", 48 * 1024 + 4).c_str()); });
    check("a kernel that declares too much", error == 218 && text.find("49168 bytes of shared memory") != std::string::npos, text);
    expect("a kernel that declares 1000 bytes", cuModuleLoadData(&other, reverse(".maxntid 256, 1, 1\n", 1000).c_str()), 0);
    cuModuleGetFunction(&function, other, "reverse");
    int value = 0;
    cuFuncGetAttribute(&value, STATIC_SHARED, function);
    check("what it declares", value == 1008, std::to_string(value));
    cuFuncGetAttribute(&value, DYNAMIC_SHARED, function);
    check("what is left, unasked", value == 48 * 1024 - 1008, std::to_string(value));
    expect("what it does not leave, asked for", cuFuncSetAttribute(function, DYNAMIC_SHARED, 227 * 1024 - 1007), 1);
    expect("what it leaves, asked for", cuFuncSetAttribute(function, DYNAMIC_SHARED, 227 * 1024 - 1008), 0);
    const char* unbounded = ".version 8.0\n.target sm_80\n.visible .entry stale(.param .u64 a, .param .u32 b)\n{\nret;\n}\n";
    text = errors_of([&] { error = cuModuleLoadData(&other, unbounded); });
    check("a kernel that does not bound its threads may have registers for 256",
            error == 218 && text.find("up to 256 threads in the PTX and 64") != std::string::npos, text);
    renew();
}

// cuBLAS: alignment, leading dimensions, settings, and captures.
void library() {
    void *blas, *stream, *graph;
    cublasCreate_v2(&blas);
    CUdeviceptr a = memory_of(4096), c = memory_of(4096), workspace = memory_of(4096);
    auto multiply = [&](int type, CUdeviceptr first, CUdeviceptr second, int lda, int ldb, int ldc, int factor = 1) {
        bool integer = type == INT8;
        float one = float(factor), nothing = 0;
        int whole = factor, none = 0;
        return cublasGemmEx(blas, 0, 0, 4, 4, 4, integer ? static_cast<void*>(&whole) : &one, reinterpret_cast<void*>(first), type, lda,
                reinterpret_cast<void*>(second), type, ldb, integer ? static_cast<void*>(&none) : &nothing, reinterpret_cast<void*>(c),
                integer ? INT32 : FP32, ldc, integer ? 72 : 68, -1);
    };
    expect("int8", multiply(INT8, a, a, 4, 4, 4), 0);
    expect("int8 with A at no multiple of 4 bytes", multiply(INT8, a + 2, a, 4, 4, 4), 15);
    expect("int8 with B at no multiple of 4 bytes", multiply(INT8, a, a + 1, 4, 4, 4), 15);
    expect("int8 with columns of A that are not", multiply(INT8, a, a, 6, 4, 4), 15);
    expect("int8 with columns of B that are not", multiply(INT8, a, a, 4, 7, 4), 15);
    expect("int8 times 2", multiply(INT8, a, a, 4, 4, 4, 2), 15);
    expect("bfloat16", multiply(BF16, a, a, 4, 4, 4), 0);
    expect("bfloat16 with rows of any length", multiply(BF16, a + 2, a + 6, 5, 7, 4), 0);
    expect("bfloat16 between elements", multiply(BF16, a + 1, a, 4, 4, 4), 7);
    expect("float32 between elements", multiply(FP32, a + 2, a, 4, 4, 4), 7);
    expect("a leading dimension of A that is too small", multiply(FP32, a, a, 3, 4, 4), 7);
    expect("a leading dimension of B that is too small", multiply(FP32, a, a, 4, 3, 4), 7);
    expect("a leading dimension of C that is too small", multiply(FP32, a, a, 4, 4, 3), 7);
    expect("a kind of arithmetic for float32 only",
            cublasGemmEx(blas, 0, 0, 1, 1, 1, &a, reinterpret_cast<void*>(a), BF16, 1, reinterpret_cast<void*>(a), BF16, 1, &a,
                    reinterpret_cast<void*>(c), FP32, 1, 77, -1), 15);
    expect("a workspace at no multiple of 256 bytes", cublasSetWorkspace_v2(blas, reinterpret_cast<void*>(workspace + 128), 1024), 7);
    expect("a workspace", cublasSetWorkspace_v2(blas, reinterpret_cast<void*>(workspace), 4096), 0);
    expect("a mode of arithmetic", cublasSetMathMode(blas, 16), 0);
    expect("a mode of arithmetic that there is not", cublasSetMathMode(blas, 8), 7);
    expect("a mode of pointers that there is not", cublasSetPointerMode_v2(blas, 2), 7);
    expect("a handle that is none", cublasSetMathMode(&a, 0), 1);

    cuStreamCreate(&stream, NON_BLOCKING);
    cublasSetStream_v2(blas, stream);
    cuStreamBeginCapture_v2(stream, THREAD_LOCAL);
    int status = 0;
    std::string text = errors_of([&] { status = multiply(FP32, a, a, 4, 4, 4); });
    check("a capture without a workspace, which the new stream took away", status == 15 && text.find("cublasSetWorkspace") != std::string::npos,
            text);
    cublasSetWorkspace_v2(blas, reinterpret_cast<void*>(workspace), 4096);
    expect("a capture with a workspace", multiply(FP32, a, a, 4, 4, 4), 0);
    expect("its end", cuStreamEndCapture(stream, &graph), 0);
    cuGraphDestroy(graph);
    cuStreamBeginCapture_v2(stream, THREAD_LOCAL);
    void* second;
    expect("a handle made in a capture", cublasCreate_v2(&second), 3);
    expect("its end", cuStreamEndCapture(stream, &graph), 901);
    cuStreamBeginCapture_v2(stream, RELAXED);
    expect("a handle made in a relaxed capture", cublasCreate_v2(&second), 0);
    expect("its end", cuStreamEndCapture(stream, &graph), 0);
    cuGraphDestroy(graph);
    cuStreamBeginCapture_v2(stream, RELAXED);
    cublasSetStream_v2(second, stream);
    cublasSetWorkspace_v2(second, reinterpret_cast<void*>(workspace), 4096);
    std::swap(blas, second);
    text = errors_of([&] { status = multiply(FP32, a, a, 4, 4, 4); });
    check("the first product of a handle in a capture", status == 13 && text.find("first product") != std::string::npos, text);
    std::swap(blas, second);
    cublasDestroy_v2(second);
    expect("a handle destroyed in a capture, which waits for the context", cuStreamEndCapture(stream, &graph), 901);
    renew();
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "rules needs the path of kernels.ptx\n");
        return 2;
    }
    return run_checks(text_of(arguments[1]), [] {
        images();
        captures();
        launches();
        library();
    });
}
