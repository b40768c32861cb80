// Drives the SIMT driver through its API: kernels that are right, kernels with a defect each, memory, graphs, cuBLAS, the panel.
#include "selftest.h"

namespace {

void good_kernels() {
    CUdeviceptr x = upload(ramp(1000));
    expect("add_one runs", launch("add_one", {4}, {256}, x, 1000), 0);
    auto plus_one = download<float>(x, 1000);
    check("add_one is right", plus_one[0] == 1 && plus_one[999] == 1000);

    CUdeviceptr rows = upload(ramp(7 * 50)), sums = upload(std::vector<float>(14));
    expect("row_sums runs", launch("row_sums", {7}, {32}, rows, sums, 50), 0);
    auto found = download<float>(sums, 14);
    check("row_sums is right", found[0] == 1225 && found[2] == 50 * 50 + 1225, std::to_string(found[0]));

    CUdeviceptr blocks = upload(ramp(512)), block_sums = upload(std::vector<float>(2));
    expect("block_sums runs", launch("block_sums", {2}, {256}, blocks, block_sums), 0);
    check("block_sums is right", download<float>(block_sums, 2)[0] == 32640.0f * 257, std::to_string(download<float>(block_sums, 2)[0]));

    CUdeviceptr in = upload(ramp(50 * 50)), out = upload(std::vector<float>(50 * 50));
    expect("transpose runs", launch("transpose", {2, 2}, {32, 32}, in, out, 50), 0);
    auto turned = download<float>(out, 2500);
    bool right = true;
    for (int i = 0; i < 2500; i++) {
        right &= turned[i] == float(i % 50 * 50 + i / 50);
    }
    check("transpose is right", right);

    CUdeviceptr results = upload(std::vector<int>(224));
    expect("exchanges runs", launch("exchanges", {1}, {32}, results), 0);
    auto lanes = download<int>(results, 224);
    right = true;
    for (int lane = 0; lane < 32; lane++) {
        right &= lanes[lane] == 50;
        right &= lanes[32 + lane] == (lane % 8 >= 3 ? lane - 3 : lane);
        right &= lanes[64 + lane] == (lane % 8 < 5 ? lane + 3 : lane);
        right &= unsigned(lanes[96 + lane]) == 0x49249249u;
        right &= lanes[128 + lane] == (lane < 16 ? 120 : 376);
        right &= lanes[160 + lane] == 1;
        right &= lanes[192 + lane] == (lane % 2 == 0 ? 4 : -1);
    }
    check("exchanges are right", right);

    CUdeviceptr vectors = upload(ramp(256)), halves = upload(std::vector<unsigned short>(64));
    expect("mixture runs", launch("mixture", {1}, {64}, vectors, halves, 50), 0);
    auto half = download<unsigned short>(halves, 50);
    // Thread 49 takes element 1 of its four, 197, times 2: 394 in bfloat16.
    check("mixture is right", half[0] == 0x43c5, std::to_string(half[0]));

    std::vector<unsigned char> a(16 * 32);
    std::vector<signed char> b(8 * 32);
    std::vector<int> c(16 * 8);
    for (int i = 0; i < 16 * 32; i++) {
        a[i] = (unsigned char)(i * 37 + 200);
        b[i % 256] = (signed char)(i * 91 - 128);
        c[i % 128] = i * 1000 - 5;
    }
    CUdeviceptr product = upload(c);
    expect("warp_product runs", launch("warp_product", {1}, {32}, upload(a), upload(b), product), 0);
    for (int i = 0; i < 16 * 8; i++) {
        for (int k = 0; k < 32; k++) {
            c[i] += a[i / 8 * 32 + k] * b[i % 8 * 32 + k];
        }
    }
    check("warp_product is right", download<int>(product, 16 * 8) == c);

    // Whole numbers of up to 5 bits: bfloat16 has them, and float32 their sums, exactly.
    auto number = [](int i) { return float(i * 37 % 61 - 30); };
    auto upper_half = [](float value) {
        unsigned bits;
        std::memcpy(&bits, &value, 4);
        return (unsigned short)(bits >> 16);
    };
    std::vector<unsigned short> a16(16 * 16), b16(16 * 8);
    std::vector<float> c16(16 * 8);
    for (int i = 0; i < 16 * 16; i++) {
        a16[i] = upper_half(number(i));
        b16[i % 128] = upper_half(number(i + 7));
        c16[i % 128] = number(i + 100);
    }
    CUdeviceptr product16 = upload(c16), before = upload(std::vector<unsigned>(32));
    expect("bf16_product runs", launch("bf16_product", {1}, {32}, upload(a16), upload(b16), product16, before), 0);
    for (int i = 0; i < 16 * 8; i++) {
        for (int k = 0; k < 16; k++) {
            c16[i] += number(i / 8 * 16 + k) * number(128 + k * 8 + i % 8 + 7);
        }
    }
    check("bf16_product is right", download<float>(product16, 16 * 8) == c16);
    check("copies arrive when they are waited for", download<unsigned>(before, 32) == std::vector<unsigned>(32, ~0u));

    CUdeviceptr handed = upload(std::vector<int>(128));
    expect("warp_hand_on runs", launch("warp_hand_on", {1}, {128}, handed), 0);
    check("warp_hand_on is right", download<int>(handed, 128)[6] == 10);
}

// Shared memory whose size the launch gives.
void dynamic_shared() {
    constexpr int MOST_DYNAMIC_SHARED = 8, N = 30000, BYTES = N * 4;
    auto reverse = [](unsigned bytes, CUdeviceptr in, CUdeviceptr out) {
        void* function;
        int n = N;
        void* pointers[] = {&in, &out, &n};
        cuModuleGetFunction(&function, module, "reverse");
        CUresult error = cuLaunchKernel(function, 1, 1, 1, 256, 1, 1, bytes, nullptr, pointers, nullptr);
        return error != 0 ? error : cuCtxSynchronize();
    };
    CUdeviceptr in = upload(ramp(N)), out = upload(std::vector<float>(N));
    void* function;
    cuModuleGetFunction(&function, module, "reverse");
    expect("more than 48 KB of shared memory, unasked", reverse(BYTES, in, out), 1);
    expect("asking for more than there is", cuFuncSetAttribute(function, MOST_DYNAMIC_SHARED, 227 * 1024 + 1), 1);
    expect("asking for more than 48 KB", cuFuncSetAttribute(function, MOST_DYNAMIC_SHARED, BYTES), 0);
    expect("reverse runs", reverse(BYTES, in, out), 0);
    check("reverse is right", download<float>(out, N)[1] == N - 2);
    CUresult error = 0;
    std::string text = errors_of([&] { error = reverse(BYTES - 4, in, out); });
    check("an access behind it is found", error == 700 && text.find("outside every array") != std::string::npos, text);
    renew();
}

// A launch that must break the context with this error and say these words.
template <class... P> void broken(const char* name, CUresult error, const char* words, P... parameters) {
    CUresult found = 0, later = 0;
    std::string text = errors_of([&] {
        found = launch(name, {2}, {64}, parameters...);
        CUdeviceptr memory;
        later = cuMemAlloc_v2(&memory, 16);
    });
    bool one_line = text.find('\n') == text.size() - 1;
    bool named = text.find(std::string("kernel ") + name) != std::string::npos && text.find("block (") != std::string::npos
            && text.find("thread (") != std::string::npos && text.find(words) != std::string::npos;
    check(std::string(name) + " is found", found == error && later == error && one_line && named,
            std::to_string(found) + ", then " + std::to_string(later) + ", " + text);
    if (std::getenv("SHOW") != nullptr) {
        std::printf("     %s", text.c_str());
    }
    renew();
}

void broken_kernels() {
    broken("read_past_end", 700, "0 bytes past the end of an allocation of 256 bytes", memory_of(256), memory_of(256));
    broken("write_past_end", 700, "bytes past the end of an allocation of 61 bytes", memory_of(61));
    broken("wild_pointer", 700, "no device memory", memory_of(256));
    broken("null_pointer", 700, "null pointer", CUdeviceptr(0), memory_of(256));
    CUdeviceptr freed = memory_of(256), output = memory_of(256);
    cuMemFree_v2(freed);
    broken("null_pointer", 700, "was freed", freed, output);
    broken("misaligned_vector", 716, "not aligned to 16", memory_of(1024), memory_of(256));
    broken("misaligned_float", 716, "not aligned to 4", memory_of(1024), memory_of(256));
    broken("missing_syncthreads", 719, "a barrier is missing", memory_of(256));
    broken("missing_second_syncthreads", 719, "__syncthreads is missing", memory_of(256));
    broken("missing_syncwarp", 719, "a barrier is missing", memory_of(256));
    broken("shuffle_for_syncwarp", 719, "__syncwarp or __syncthreads is missing", memory_of(256));
    broken("same_value_race", 719, "race on shared memory", memory_of(256));
    broken("uninitialised_shared", 719, "no thread of this block has written yet", memory_of(256));
    broken("shared_index", 700, "index 16 is outside", memory_of(256), 16);
    broken("shared_pointer", 700, "outside every array", memory_of(256), 15);
    broken("divergent_shuffle", 719, "which has ended", memory_of(256));
    broken("divergent_mma", 719, "waits at an mma", memory_of(256));
    broken("divergent_ldmatrix", 719, "waits at an ldmatrix", memory_of(256));
    broken("copy_without_barrier", 719, "a barrier is missing", memory_of(1024), memory_of(256));
    broken("misaligned_copy", 716, "not aligned to 16", memory_of(2048), memory_of(256));
    broken("divergent_barrier", 719, "waits at __syncthreads", memory_of(256));
    broken("lane_outside_mask", 719, "reads lane 20", memory_of(256));
    broken("too_much_shared", 701, "49152 bytes of shared memory", memory_of(256));
    broken("copy_past_end", 700, "past the end of an allocation of 100 bytes", memory_of(100), memory_of(128), 128);
}

void refused_calls() {
    void* function;
    expect("a kernel that is not there", cuModuleGetFunction(&function, module, "nothing"), 500);
    CUdeviceptr x = memory_of(1024);
    CUresult error = 0;
    std::string text = errors_of([&] { error = launch("add_one", {1}, {512}, x, 1); });
    check("more threads than the kernel allows", error == 701 && text.find("for blocks of up to 256 threads") != std::string::npos, text);
    expect("a block of 2048 threads", launch("add_one", {1}, {2048}, x, 1), 1);
    expect("a grid of nothing", launch("add_one", {0}, {32}, x, 1), 1);
    std::vector<char> host(2048);
    expect("a copy past the end", cuMemcpyHtoD_v2(x, host.data(), 1025), 1);
    expect("memory freed twice", (cuMemFree_v2(x), cuMemFree_v2(x)), 1);
    void* other;
    text = errors_of([&] {
        error = cuModuleLoadData(&other, ".version 8.0\n.target sm_80\n.visible .entry stale(.param .u64 stale_param_0)\n{ ret; }\n");
    });
    check("PTX with fewer parameters", error == 218 && text.find("has 1 parameters in the PTX and 2") != std::string::npos, text);
    text = errors_of([&] {
        error = cuModuleLoadData(&other, ".version 8.0\n.target sm_80\n.entry stale(.param .u64 a, .param .u64 b)\n.maxntid 64, 1, 1\n{ ret; }\n");
    });
    check("PTX with a wider parameter", error == 218 && text.find("has 8 bytes in the PTX and 4") != std::string::npos, text);
    expect("a handle that is none", cuStreamSynchronize(&other), 400);
}

void graphs() {
    CUdeviceptr x = upload(ramp(100)), sum = upload(std::vector<float>(4)), ones = upload(std::vector<float>(100, 1.0f));
    void* stream;
    void* side;
    void* event;
    void* second_event;
    cuStreamCreate(&stream, 1);
    cuStreamCreate(&side, 1);
    cuEventCreate(&event, 0);
    cuEventCreate(&second_event, 0);
    void* blas;
    cublasCreate_v2(&blas);
    cublasSetStream_v2(blas, stream);
    cublasSetWorkspace_v2(blas, reinterpret_cast<void*>(memory_of(1024)), 1024);

    void* graph;
    void* exec;
    float one = 1.0f, zero = 0.0f;
    auto add_up = [&] {
        return cublasGemmEx(blas, 1, 0, 1, 1, 100, &one, reinterpret_cast<void*>(x), 0, 100, reinterpret_cast<void*>(ones), 0, 100, &zero,
                reinterpret_cast<void*>(sum), 0, 1, 68, -1);
    };
    cuStreamBeginCapture_v2(stream, 0);
    expect("the first product of a handle in a capture", add_up(), 13);
    expect("the end of the capture", cuStreamEndCapture(stream, &graph), 0);
    cuGraphDestroy(graph);
    expect("the first product of a handle", add_up(), 0);
    expect("begin of a capture", cuStreamBeginCapture_v2(stream, 0), 0);
    launch_on(stream, "add_one", {1}, {128}, x, 100);
    cuEventRecord(event, stream);
    cuStreamWaitEvent(side, event, 0);
    launch_on(side, "add_one", {1}, {128}, x, 100);
    cuEventRecord(second_event, side);
    cuStreamWaitEvent(stream, second_event, 0);
    add_up();
    expect("end of the capture", cuStreamEndCapture(stream, &graph), 0);
    check("nothing has run yet", download<float>(x, 1)[0] == 0);
    size_t count = 0;
    cuGraphGetNodes(graph, nullptr, &count);
    check("the graph has three nodes", count == 3);
    cuGraphInstantiateWithFlags(&exec, graph, 0);
    cuGraphDestroy(graph);
    cuGraphLaunch(exec, stream);
    cuGraphLaunch(exec, stream);
    expect("the graph runs", cuStreamSynchronize(stream), 0);
    check("two replays are right", download<float>(x, 1)[0] == 4 && download<float>(sum, 1)[0] == 4950 + 400);

    CUdeviceptr memory;
    cuStreamBeginCapture_v2(stream, 0);
    expect("cuMemAlloc during a capture", cuMemAlloc_v2(&memory, 16), 900);
    expect("the end of a capture that was invalidated", cuStreamEndCapture(stream, &graph), 901);
    cuStreamBeginCapture_v2(stream, 2);
    expect("cuMemAlloc during a relaxed capture", cuMemAlloc_v2(&memory, 16), 0);
    expect("the end of a relaxed capture", cuStreamEndCapture(stream, &graph), 0);
    cuStreamBeginCapture_v2(stream, 0);
    expect("waiting for a capturing stream", cuStreamSynchronize(stream), 900);
    cuStreamEndCapture(stream, &graph);
    cuStreamBeginCapture_v2(stream, 1);
    float host;
    expect("a copy on the legacy stream during a capture", cuMemcpyDtoH_v2(&host, x, 4), 900);
    cuStreamEndCapture(stream, &graph);
    cuStreamBeginCapture_v2(stream, 0);
    cuEventRecord(event, stream);
    cuStreamWaitEvent(side, event, 0);
    launch_on(side, "add_one", {1}, {128}, x, 100);
    expect("work that is not joined", cuStreamEndCapture(stream, &graph), 904);
    expect("a capture of the legacy stream", cuStreamBeginCapture_v2(nullptr, 0), 900);
}

// Against a plain product in double.
void products() {
    void* blas;
    cublasCreate_v2(&blas);
    bool right = true;
    for (int shape = 0; shape < 3; shape++) {
        int m = 1 + 22 * shape, n = 5 + 20 * shape, k = 3 + 30 * shape;
        for (int ops = 0; ops < 4; ops++) {
            bool turn_a = ops & 1, turn_b = ops & 2;
            int lda = (turn_a ? k : m) + 2, ldb = (turn_b ? n : k) + 1, ldc = m + 3;
            std::vector<float> a(size_t(lda) * (turn_a ? m : k)), b(size_t(ldb) * (turn_b ? k : n)), c(size_t(ldc) * n, NAN);
            for (size_t i = 0; i < a.size(); i++) {
                a[i] = float(i * 37 % 23) - 11;
            }
            for (size_t i = 0; i < b.size(); i++) {
                b[i] = float(i * 29 % 19) - 9;
            }
            CUdeviceptr da = upload(a), db = upload(b), dc = upload(c);
            float alpha = 2.0f, beta = 0.0f;
            right &= cublasGemmEx(blas, turn_a, turn_b, m, n, k, &alpha, reinterpret_cast<void*>(da), 0, lda, reinterpret_cast<void*>(db), 0,
                    ldb, &beta, reinterpret_cast<void*>(dc), 0, ldc, 68, -1) == 0;
            c = download<float>(dc, c.size());
            for (int column = 0; column < n; column++) {
                for (int row = 0; row < ldc; row++) {
                    double sum = 0;
                    for (int i = 0; i < k && row < m; i++) {
                        sum += double(turn_a ? a[size_t(row) * lda + i] : a[size_t(i) * lda + row])
                                * (turn_b ? b[size_t(i) * ldb + column] : b[size_t(column) * ldb + i]);
                    }
                    float found = c[size_t(column) * ldc + row];
                    right &= row < m ? found == float(2 * sum) : std::isnan(found);
                }
            }
        }
    }
    check("products of fp32 are right and leave the rest of C alone", right);

    float alpha = 1.0f, beta = 1.0f;
    // [1 2; 3 4] in bfloat16, column by column.
    CUdeviceptr halves = upload(std::vector<unsigned short>{0x3f80, 0x4040, 0x4000, 0x4080});
    CUdeviceptr c = upload(std::vector<float>{1, 1, 1, 1});
    expect("a product of bfloat16", cublasGemmEx(blas, 0, 0, 2, 2, 2, &alpha, reinterpret_cast<void*>(halves), 14, 2,
            reinterpret_cast<void*>(halves), 14, 2, &beta, reinterpret_cast<void*>(c), 0, 2, 68, -1), 0);
    check("its result", download<float>(c, 4) == std::vector<float>({8, 16, 11, 23}));

    // The same product of whole numbers; columns are 4 bytes apart, as it needs them.
    CUdeviceptr bytes = upload(std::vector<signed char>{1, -3, 0, 0, 2, 4, 0, 0}), integers = upload(std::vector<int>(4));
    auto int8 = [&](CUdeviceptr a, int lda, int factor) {
        int zero = 0;
        return cublasGemmEx(blas, 0, 0, 2, 2, 2, &factor, reinterpret_cast<void*>(a), 3, lda, reinterpret_cast<void*>(bytes), 3, 4, &zero,
                reinterpret_cast<void*>(integers), 10, 2, 72, -1);
    };
    expect("a product of int8", int8(bytes, 4, 1), 0);
    check("its result", download<int>(integers, 4) == std::vector<int>({-5, -15, 10, 10}));
    expect("int8 at no multiple of 4 bytes", int8(bytes + 1, 4, 1), 15);
    expect("int8 with columns at no multiples of 4 bytes", int8(bytes, 6, 1), 15);
    expect("int8 times 2", int8(bytes, 4, 2), 15);

    CUdeviceptr x = upload(ramp(12)), y = upload(std::vector<float>(12));
    beta = 0.0f;
    expect("a product of matrix and vector", cublasSgemv_v2(blas, 1, 3, 2, &alpha, reinterpret_cast<float*>(x), 3, reinterpret_cast<float*>(x), 2,
            &beta, reinterpret_cast<float*>(y), 1), 0);
    check("its result", download<float>(y, 2) == std::vector<float>({10, 28}));

    expect("a leading dimension that is too small", cublasGemmEx(blas, 0, 0, 2, 2, 2, &alpha, reinterpret_cast<void*>(x), 0, 1,
            reinterpret_cast<void*>(x), 0, 2, &beta, reinterpret_cast<void*>(y), 0, 2, 68, -1), 7);
    CUresult error = 0;
    std::string text = errors_of([&] {
        cublasGemmEx(blas, 0, 0, 4, 4, 4, &alpha, reinterpret_cast<void*>(x), 0, 4, reinterpret_cast<void*>(x), 0, 4, &beta,
                reinterpret_cast<void*>(y), 0, 4, 68, -1);
        error = cuCtxSynchronize();
    });
    check("a product outside its memory", error == 700 && text.find("cublasGemmEx") != std::string::npos, text);
    renew();
}

void panel() {
    CUdeviceptr memory;
    cuCtxSetLimit(ALLOC, 2);
    expect("the first allocation", cuMemAlloc_v2(&memory, 16), 0);
    expect("the second allocation fails", cuMemAlloc_v2(&memory, 16), 2);
    expect("the third allocation", cuMemAlloc_v2(&memory, 16), 0);
    size_t live = 0, bytes = 0, available = 0, total = 0;
    cuCtxGetLimit(&live, LIVE);
    cuCtxGetLimit(&bytes, LIVE_BYTES);
    check("live allocations are counted", live == 2 && bytes == 32);

    cuCtxSetLimit(LAUNCH, 1);
    CUdeviceptr x = upload(ramp(32));
    CUresult error = 0;
    errors_of([&] { error = launch("add_one", {1}, {32}, x, 32); });
    expect("a launch that fails", error, 700);
    renew();
    cuCtxSetLimit(TOTAL, 1000);
    cuCtxSetLimit(OTHERS, 800);
    cuMemGetInfo_v2(&available, &total);
    check("memory of others", available == 200 && total == 1000);
    expect("more than is left", cuMemAlloc_v2(&memory, 201), 2);
    cuCtxSetLimit(DRIVER, 11080);
    cuCtxSetLimit(CAPABILITY, 75);
    cuCtxSetLimit(DEVICES, 2);
    size_t word;
    std::memcpy(&word, "Tesla T4", 8);
    cuCtxSetLimit(NAME, word);
    int version = 0, major = 0, count = 0;
    char name[64];
    cuDriverGetVersion(&version);
    cuDeviceGetAttribute(&major, 75, 0);
    cuDeviceGetCount(&count);
    cuDeviceGetName(name, sizeof name, 1);
    check("facts of the device", version == 11080 && major == 7 && count == 2 && std::string(name) == "Tesla T4", name);
    cuCtxSetLimit(DEVICES, 0);
    expect("no device", cuInit(0), 100);
    cuCtxSetLimit(LOSE, 2);
    expect("one more call", cuCtxSynchronize(), 0);
    expect("the device is lost", cuCtxSynchronize(), 999);
    expect("and stays lost", cuInit(0), 999);
    cuCtxSetLimit(RESET, 0);
    expect("after the reset", cuCtxSynchronize(), 0);
    cuDriverGetVersion(&version);
    check("the reset restores facts", version == 12060);
}

// Of processor time.
double seconds_of(const std::function<void()>& action) {
    std::clock_t start = std::clock();
    action();
    return double(std::clock() - start) / CLOCKS_PER_SEC;
}

// For information; nothing depends on it.
void times() {
    CUdeviceptr out = memory_of(4096 * 4), rows = upload(ramp(256 * 128)), sums = memory_of(256 * 8);
    for (unsigned threads : {32u, 256u, 1024u}) {
        int rounds = 1000000 / int(threads);
        launch("switches", {1}, {threads}, out, 1);
        double seconds = seconds_of([&] { launch("switches", {1}, {threads}, out, rounds); });
        std::printf("     a shuffle, with its switch, of %u threads: %.1f ns a lane\n", threads, seconds / (double(rounds) * threads) * 1e9);
    }
    launch("row_sums", {256}, {32}, rows, sums, 128);
    std::printf("     256 blocks of 32 threads, two sums of 128 each: %.2f ms\n",
            seconds_of([&] { launch("row_sums", {256}, {32}, rows, sums, 128); }) * 1e3);
    CUdeviceptr large = upload(ramp(1 << 20));
    std::printf("     add_one over a million: %.2f ms\n", seconds_of([&] { launch("add_one", {4096}, {256}, large, 1 << 20); }) * 1e3);
    CUdeviceptr in = upload(ramp(512 * 512)), turned = upload(ramp(512 * 512));
    std::printf("     transpose of 512x512 through shared memory: %.2f ms\n",
            seconds_of([&] { launch("transpose", {16, 16}, {32, 32}, in, turned, 512); }) * 1e3);
    void* blas;
    cublasCreate_v2(&blas);
    float one = 1.0f, zero = 0.0f;
    for (int n : {32, 128, 512}) {
        int times = 512 / n;
        double seconds = seconds_of([&] {
            for (int i = 0; i < times; i++) {
                cublasGemmEx(blas, 1, 0, n, n, n, &one, reinterpret_cast<void*>(in), 0, n, reinterpret_cast<void*>(in), 0, n, &zero,
                        reinterpret_cast<void*>(turned), 0, n, 68, -1);
            }
            cuCtxSynchronize();
        });
        std::printf("     product of %dx%d: %.1f GFLOP/s\n", n, n, 2.0 * n * n * n * times / seconds / 1e9);
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "selftest needs the path of kernels.ptx\n");
        return 2;
    }
    return run_checks(text_of(arguments[1]), [] {
        good_kernels();
        dynamic_shared();
        broken_kernels();
        good_kernels();
        refused_calls();
        graphs();
        products();
        renew();
        panel();
        times();
    });
}
