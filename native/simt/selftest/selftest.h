// What the self-tests share: the calls of the driver, a check, memory, launches.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <numeric>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

using CUresult = int;
using CUdeviceptr = unsigned long long;

extern "C" {
CUresult cuInit(unsigned);
CUresult cuDriverGetVersion(int*);
CUresult cuDeviceGetCount(int*);
CUresult cuDeviceGetName(char*, int, int);
CUresult cuDeviceGetAttribute(int*, int, int);
CUresult cuDevicePrimaryCtxRetain(void**, int);
CUresult cuDevicePrimaryCtxRelease_v2(int);
CUresult cuDevicePrimaryCtxReset_v2(int);
CUresult cuCtxSetCurrent(void*);
CUresult cuCtxSynchronize();
CUresult cuCtxSetLimit(unsigned, size_t);
CUresult cuCtxGetLimit(size_t*, unsigned);
CUresult cuMemAlloc_v2(CUdeviceptr*, size_t);
CUresult cuMemFree_v2(CUdeviceptr);
CUresult cuMemAllocHost_v2(void**, size_t);
CUresult cuMemFreeHost(void*);
CUresult cuMemGetInfo_v2(size_t*, size_t*);
CUresult cuMemcpyHtoD_v2(CUdeviceptr, const void*, size_t);
CUresult cuMemcpyDtoH_v2(void*, CUdeviceptr, size_t);
CUresult cuMemcpyDtoHAsync_v2(void*, CUdeviceptr, size_t, void*);
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr, const void*, size_t, void*);
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, size_t, void*);
CUresult cuMemsetD32_v2(CUdeviceptr, unsigned, size_t);
CUresult cuMemsetD32Async(CUdeviceptr, unsigned, size_t, void*);
CUresult cuModuleLoadData(void**, const void*);
CUresult cuModuleLoadDataEx(void**, const void*, unsigned, int*, void**);
CUresult cuModuleUnload(void*);
CUresult cuModuleGetFunction(void**, void*, const char*);
CUresult cuFuncSetAttribute(void*, int, int);
CUresult cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
CUresult cuStreamCreate(void**, unsigned);
CUresult cuStreamDestroy_v2(void*);
CUresult cuStreamSynchronize(void*);
CUresult cuStreamQuery(void*);
CUresult cuStreamWaitEvent(void*, void*, unsigned);
CUresult cuStreamBeginCapture_v2(void*, int);
CUresult cuStreamEndCapture(void*, void**);
CUresult cuEventCreate(void**, unsigned);
CUresult cuEventDestroy_v2(void*);
CUresult cuEventRecord(void*, void*);
CUresult cuEventSynchronize(void*);
CUresult cuEventQuery(void*);
CUresult cuEventElapsedTime(float*, void*, void*);
CUresult cuGraphInstantiateWithFlags(void**, void*, unsigned long long);
CUresult cuGraphLaunch(void*, void*);
CUresult cuGraphDestroy(void*);
CUresult cuGraphExecDestroy(void*);
CUresult cuGraphGetNodes(void*, void**, size_t*);
CUresult cuGraphKernelNodeGetParams_v2(void*, void*);
CUresult cuGraphExecKernelNodeSetParams_v2(void*, void*, const void*);
int cublasCreate_v2(void**);
int cublasSetStream_v2(void*, void*);
int cublasSetWorkspace_v2(void*, void*, size_t);
int cublasGemmEx(void*, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int, const void*, void*, int, int, int, int);
int cublasSgemv_v2(void*, int, int, int, const float*, const float*, int, const float*, int, const float*, float*, int);
}

// The control panel of cuCtxSetLimit and cuCtxGetLimit.
enum Panel : unsigned { RESET = 0x51000000, ALLOC, LAUNCH, LOSE, TOTAL, OTHERS, DEVICES, DRIVER, CAPABILITY, NAME, LIVE = 0x51000100,
    LIVE_BYTES, LAUNCHES };

inline int failures;
inline std::string ptx;
inline void* context;
inline void* module;

inline void check(const std::string& what, bool right, const std::string& found = "") {
    std::printf("%s %s%s\n", right ? "pass" : "FAIL", what.c_str(), right || found.empty() ? "" : (": " + found).c_str());
    failures += !right;
}

inline void expect(const std::string& what, CUresult found, CUresult wanted) {
    check(what, found == wanted, std::to_string(found) + " instead of " + std::to_string(wanted));
}

inline std::string text_of(const char* path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

// What is written to stderr meanwhile.
inline std::string errors_of(const std::function<void()>& action) {
    std::fflush(stderr);
    int before = dup(2);
    std::FILE* file = std::tmpfile();
    dup2(fileno(file), 2);
    action();
    std::fflush(stderr);
    dup2(before, 2);
    close(before);
    std::string text(size_t(std::ftell(file) >= 0 ? lseek(fileno(file), 0, SEEK_END) : 0), 0);
    lseek(fileno(file), 0, SEEK_SET);
    size_t got = size_t(std::max<ssize_t>(0, read(fileno(file), text.data(), text.size())));
    text.resize(got);
    std::fclose(file);
    return text;
}

// A broken context goes, a fresh one comes.
inline void renew() {
    cuDevicePrimaryCtxReset_v2(0);
    cuCtxSetCurrent(context);
    if (cuModuleLoadData(&module, ptx.c_str()) != 0) {
        std::printf("FAIL the kernels cannot be loaded\n");
        std::exit(1);
    }
}

template <class T> CUdeviceptr upload(const std::vector<T>& values) {
    CUdeviceptr memory = 0;
    cuMemAlloc_v2(&memory, values.size() * sizeof(T));
    cuMemcpyHtoD_v2(memory, values.data(), values.size() * sizeof(T));
    cuCtxSynchronize();  // the copy is on the legacy stream, for which streams that are NON_BLOCKING do not wait
    return memory;
}

template <class T> std::vector<T> download(CUdeviceptr memory, size_t count) {
    std::vector<T> values(count);
    cuMemcpyDtoH_v2(values.data(), memory, count * sizeof(T));
    return values;
}

struct Shape {
    unsigned x, y = 1;
};

template <class... P> CUresult launch_on(void* stream, const char* name, Shape grid, Shape block, P... parameters) {
    void* function;
    if (CUresult error = cuModuleGetFunction(&function, module, name)) {
        return error;
    }
    void* pointers[] = {&parameters..., nullptr};
    return cuLaunchKernel(function, grid.x, grid.y, 1, block.x, block.y, 1, 0, stream, pointers, nullptr);
}

template <class... P> CUresult launch(const char* name, Shape grid, Shape block, P... parameters) {
    CUresult error = launch_on(nullptr, name, grid, block, parameters...);
    return error != 0 ? error : cuCtxSynchronize();
}

inline std::vector<float> ramp(size_t count) {
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), 0.0f);
    return values;
}

inline CUdeviceptr memory_of(size_t bytes) {
    CUdeviceptr memory = 0;
    cuMemAlloc_v2(&memory, bytes);
    return memory;
}

// What a self-test does with the kernels of a text, from the first call to the last; the exit code of its process.
inline int run_checks(const std::string& kernels, const std::function<void()>& checks) {
    ptx = kernels;
    expect("cuInit", cuInit(0), 0);
    cuDevicePrimaryCtxRetain(&context, 0);
    renew();
    checks();
    expect("release of the context", cuDevicePrimaryCtxRelease_v2(0), 0);
    std::printf(failures == 0 ? "all passed\n" : "%d failed\n", failures);
    return failures == 0 ? 0 : 1;
}
