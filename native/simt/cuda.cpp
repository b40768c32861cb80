// The driver API: devices, contexts, memory, modules and launches. Streams, events and graphs are in stream.cpp.
#include "driver.h"
#include "late.h"
#include "machine.h"
#include "memory.h"
#include "panel.h"
#include "ptx.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#define EXPORT extern "C" __attribute__((visibility("default"))) CUresult

namespace simt {

std::recursive_mutex driver_lock;
Handles<Context> contexts;
Handles<Module> modules;
Handles<Function> functions;

namespace {

constexpr int MOST_DEVICES = 16;

struct Primary {
    Context* context;
    int references;
    unsigned flags;
};
Primary primaries[MOST_DEVICES];
bool initialised;
thread_local std::vector<Context*> context_stack;

bool is_device(int device) { return device >= 0 && device < int(panel.devices) && device < MOST_DEVICES; }

void copy_text(char* to, int length, const std::string& text) {
    if (length > 0) {
        size_t count = std::min(text.size(), size_t(length - 1));
        std::memcpy(to, text.data(), count);
        to[count] = 0;
    }
}

struct ErrorText {
    CUresult error;
    const char* name;
    const char* text;
};
#define ERROR_TEXT(name, text) {name, #name, text}
const ErrorText ERROR_TEXTS[] = {
    ERROR_TEXT(CUDA_SUCCESS, "no error"),
    ERROR_TEXT(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    ERROR_TEXT(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    ERROR_TEXT(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    ERROR_TEXT(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    ERROR_TEXT(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    ERROR_TEXT(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    ERROR_TEXT(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    ERROR_TEXT(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    ERROR_TEXT(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed"),
    ERROR_TEXT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain."),
    ERROR_TEXT(CUDA_ERROR_FILE_NOT_FOUND, "file not found"),
    ERROR_TEXT(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    ERROR_TEXT(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
    ERROR_TEXT(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    ERROR_TEXT(CUDA_ERROR_NOT_READY, "device not ready"),
    ERROR_TEXT(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    ERROR_TEXT(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    ERROR_TEXT(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "cannot set while device is active in this process"),
    ERROR_TEXT(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    ERROR_TEXT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part or all of the requested memory range is already mapped"),
    ERROR_TEXT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "pointer does not correspond to a registered memory region"),
    ERROR_TEXT(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    ERROR_TEXT(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    ERROR_TEXT(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing blocking stream"),
    ERROR_TEXT(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream"),
    ERROR_TEXT(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
            "attempt to terminate a thread-local capture sequence from another thread"),
    ERROR_TEXT(CUDA_ERROR_UNKNOWN, "unknown error"),
};

CUresult attribute(int number, int& value) {
    static const std::map<int, int> FIXED = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64},            // threads of a block, in all and in each direction
        {5, 2147483647}, {6, 65535}, {7, 65535},             // blocks of a grid in each direction
        {8, int(SHARED_LIMIT)}, {97, int(SHARED_OPT_IN)}, {81, int(SHARED_OPT_IN) + 1024},  // shared memory, opt-in, of a multiprocessor
        {9, 65536}, {10, 32}, {11, 2147483647}, {12, 65536}, {82, 65536},
        {13, 1500000}, {36, 2600000}, {37, 5120}, {38, 4 << 20},  // kHz, memory kHz, bus bits, L2 bytes
        {14, 512}, {16, 132}, {19, 1}, {31, 1}, {34, 1}, {39, 2048}, {40, 1}, {41, 1}, {78, 1}, {87, 32}, {106, 32}, {111, 0},
    };
    if (number <= 0 || number > 150) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (number == 75 || number == 76) {
        value = int(number == 75 ? panel.capability / 10 : panel.capability % 10);
    } else {
        auto found = FIXED.find(number);
        value = found == FIXED.end() ? 0 : found->second;
    }
    return CUDA_SUCCESS;
}

Context* primary_of(int device) {
    Primary& primary = primaries[device];
    if (primary.context == nullptr) {
        primary.context = contexts.add(Context{device, primary.flags, true, CUDA_SUCCESS});
    }
    return primary.context;
}

// Returns what work that still waited did wrong.
CUresult destroy_context(Context* context) {
    CUresult error = late::finish(context);
    destroy_context_content(context);
    contexts.remove(context);
    return error;
}

uint64_t free_memory() {
    uint64_t used = live_bytes() + panel.others_memory;
    return used < panel.total_memory ? panel.total_memory - used : 0;
}

bool is_device_memory(CUdeviceptr start) {
    const Allocation* allocation = find_allocation(start, 1);
    return allocation != nullptr && allocation->kind == Kind::DEVICE;
}

// Bytes that a copy or fill may touch on the device: within one allocation.
bool is_device_range(CUdeviceptr start, size_t bytes) {
    return bytes == 0 || find_allocation(start, bytes) != nullptr || is_registered_host(start, bytes);
}

// Of copies and fills that go through the legacy stream.
CUresult refuse_synchronous_call(const Context* context) {
    CUresult error = refuse_legacy_stream(context);
    return error != CUDA_SUCCESS ? error : refuse_unsafe_call();
}

CUresult copy(Context* context, void* stream, bool async, void* to, const void* from, size_t bytes, bool device_to, bool device_from) {
    if ((device_to && !is_device_range(CUdeviceptr(to), bytes)) || (device_from && !is_device_range(CUdeviceptr(from), bytes))
            || (bytes != 0 && (to == nullptr || from == nullptr))) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!async) {
        stream = nullptr;
        if (CUresult error = refuse_synchronous_call(context)) {
            return error;
        }
    }
    bool page_locked_to = is_device_range(CUdeviceptr(to), bytes), page_locked_from = is_device_range(CUdeviceptr(from), bytes);
    if (CUresult error = page_locked_to && page_locked_from ? CUDA_SUCCESS : refuse_in_capture(stream)) {
        return error;
    }
    std::shared_ptr<std::vector<char>> staged;
    if (late::is_on() && !page_locked_from) {
        // The driver takes what lies in pageable memory before it returns, and a synchronous copy first waits for its stream.
        if (CUresult error = async ? CUDA_SUCCESS : late::finish(context, stream)) {
            return error;
        }
        auto start = static_cast<const char*>(from);
        staged = std::make_shared<std::vector<char>>(start, start + bytes);
    }
    auto run = [=] {
        if ((!page_locked_from || check_range("cuMemcpy", from, bytes, false))
                && (!page_locked_to || check_range("cuMemcpy", to, bytes, true))) {
            std::memmove(to, staged != nullptr ? staged->data() : from, bytes);
        }
    };
    if (CUresult error = submit(context, stream, Work{Work::MEMCPY, context, run, nullptr, nullptr})) {
        return error;
    }
    bool returns_when_done = async ? !page_locked_to : !device_to || (!device_from && page_locked_from);
    return returns_when_done ? late::finish(context, stream) : CUDA_SUCCESS;
}

template <class T> CUresult fill(Context* context, void* stream, bool async, CUdeviceptr start, T value, size_t count) {
    if (start % sizeof(T) != 0 || !is_device_range(start, count * sizeof(T))) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    auto run = [=] {
        if (check_range("cuMemset", reinterpret_cast<void*>(start), count * sizeof(T), true)) {
            std::fill_n(reinterpret_cast<T*>(start), count, value);
        }
    };
    if (CUresult error = async ? CUDA_SUCCESS : refuse_synchronous_call(context)) {
        return error;
    }
    if (CUresult error = submit(context, async ? stream : nullptr, Work{Work::MEMSET, context, run, nullptr, nullptr})) {
        return error;
    }
    bool returns_when_done = !async && !is_device_memory(start);
    return returns_when_done ? late::finish(context, nullptr) : CUDA_SUCCESS;
}

CUresult allocate_memory(Context* context, void** pointer, size_t bytes, Kind kind) {
    if (pointer == nullptr || bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (CUresult error = refuse_unsafe_call()) {
        return error;
    }
    bool failing = due(panel.fail_alloc) || (kind == Kind::DEVICE && bytes > free_memory());
    void* memory = failing ? nullptr : allocate(bytes, kind, context);
    if (memory == nullptr) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *pointer = memory;
    return CUDA_SUCCESS;
}

CUresult free_memory_at(CUdeviceptr start, Kind kind) {
    if (start == 0) {
        return CUDA_SUCCESS;
    }
    if (CUresult error = refuse_unsafe_call()) {
        return error;
    }
    return release(start, kind) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// What is wrong with PTX that the kernels of this driver do not match; empty when they do.
std::string check_entry(const Kernel& entry, const Kernel* kernel) {
    std::string name = entry.name;
    std::string rebuild = "; compile the PTX and run scripts/build-simt again, one of them is stale";
    if (kernel == nullptr) {
        return "the PTX declares kernel " + name + ", which libkernels.so does not have" + rebuild;
    }
    if (entry.count != kernel->count) {
        return "kernel " + name + " has " + std::to_string(entry.count) + " parameters in the PTX and " + std::to_string(kernel->count)
                + " in libkernels.so" + rebuild;
    }
    if (entry.threads != kernel->threads) {
        return "kernel " + name + " is for blocks of up to " + std::to_string(entry.threads) + " threads in the PTX and "
                + std::to_string(kernel->threads) + " in libkernels.so" + rebuild;
    }
    for (unsigned i = 0; i < kernel->count; i++) {
        if (entry.sizes[i] != kernel->sizes[i]) {
            return "parameter " + std::to_string(i) + " of kernel " + name + " has " + std::to_string(entry.sizes[i])
                    + " bytes in the PTX and " + std::to_string(kernel->sizes[i]) + " in libkernels.so" + rebuild;
        }
    }
    return "";
}

// SIMT_RUN=ptx: the text of a module is what runs, and not the kernels that g++ compiled.
bool runs_ptx() {
    static const char* const run = std::getenv("SIMT_RUN");
    return run != nullptr && std::strcmp(run, "ptx") == 0;
}

CUresult load_module(Context* context, Module** module, const char* text, std::string& message) {
    if (module == nullptr || text == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (CUresult error = refuse_unsafe_call()) {
        return error;
    }
    if (CUresult error = check_ptx_header(text, message)) {
        return error;
    }
    auto program = ptx::parse(text, message);
    if (program == nullptr) {
        return CUDA_ERROR_INVALID_PTX;
    }
    std::vector<Function> made;
    for (const auto& entry : ptx::entries_of(program)) {
        if (entry->static_shared > SHARED_LIMIT) {
            message = "the kernel " + std::string(entry->kernel.name) + " declares " + std::to_string(entry->static_shared)
                    + " bytes of shared memory, more than " + std::to_string(SHARED_LIMIT);
            return CUDA_ERROR_INVALID_PTX;
        }
        Function function{nullptr, &entry->kernel, entry, entry->static_shared, SHARED_LIMIT - entry->static_shared};
        if (runs_ptx()) {
            made.push_back(function);
            continue;
        }
        const Kernel* kernel = find_kernel(entry->kernel.name);
        message = check_entry(entry->kernel, kernel);
        if (!message.empty()) {
            return CUDA_ERROR_INVALID_PTX;
        }
        function.kernel = kernel;
        function.entry = nullptr;
        made.push_back(function);
    }
    *module = modules.add(Module{context, {}});
    for (Function& function : made) {
        function.module = *module;
        (*module)->functions.push_back(functions.add(function));
    }
    return CUDA_SUCCESS;
}

CUresult load_module(Context* context, Module** module, const char* text, unsigned option_count, const int* options, void** values) {
    std::string message;
    CUresult error = load_module(context, module, text, message);
    if (!message.empty()) {
        std::fprintf(stderr, "simt: %s\n", message.c_str());
    }
    // CU_JIT_INFO_LOG_BUFFER is 3, CU_JIT_ERROR_LOG_BUFFER is 5; the size of each follows it.
    for (unsigned i = 0; i < option_count; i++) {
        if (options[i] != 3 && options[i] != 5) {
            continue;
        }
        for (unsigned j = 0; j < option_count; j++) {
            if (options[j] == options[i] + 1) {
                // What is no PTX never comes to the compiler whose log this is.
                std::string log = options[i] == 5 && error != CUDA_ERROR_INVALID_IMAGE ? message : "";
                copy_text(static_cast<char*>(values[i]), int(uintptr_t(values[j])), log);
                values[j] = reinterpret_cast<void*>(log.size());
            }
        }
    }
    return error;
}

void unload_module(Module* module) {
    *module->loaded = false;
    for (Function* function : module->functions) {
        functions.remove(function);
    }
    modules.remove(module);
}

}  // namespace

Call::Call(Needs needs) : guard(driver_lock) {
    panel.calls++;
    if (due(panel.lose_device)) {
        panel.lost = true;
    }
    error = CUDA_SUCCESS;
    if (panel.lost) {
        error = CUDA_ERROR_UNKNOWN;
    } else if (needs != Needs::NOTHING && !initialised) {
        error = CUDA_ERROR_NOT_INITIALIZED;
    } else if (needs == Needs::CONTEXT) {
        context = current_context();
        if (context == nullptr) {
            error = CUDA_ERROR_INVALID_CONTEXT;
        } else if (!contexts.has(context)) {
            error = CUDA_ERROR_CONTEXT_IS_DESTROYED;
        } else {
            error = context->broken;
        }
    }
}

Context* current_context() {
    return context_stack.empty() ? nullptr : context_stack.back();
}

CUresult after_work(const Context* context) {
    static const char* blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
    return blocking != nullptr && blocking[0] == '1' ? context->broken : CUDA_SUCCESS;
}

void Launch::run(Context* context) const {
    if (!*loaded) {
        std::fprintf(stderr, "simt: kernel %s runs when its module has been unloaded\n", kernel->name);
        context->broken = CUDA_ERROR_ILLEGAL_ADDRESS;
        return;
    }
    context->broken = entry != nullptr ? ptx::run(*entry, grid, block, shared, bytes.data())
                                       : simt::run(*kernel, grid, block, shared, params.data());
}

CUresult make_launch(const Context* context, void* function, uint3 grid, uint3 block, unsigned shared, void** params, void** extra,
        std::shared_ptr<Launch>& launch) {
    auto f = static_cast<Function*>(function);
    if (!functions.has(f) || f->module->context != context) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    const Kernel& kernel = *f->kernel;
    uint64_t threads = uint64_t(block.x) * block.y * block.z;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || grid.x > 2147483647 || grid.y > 65535 || grid.z > 65535
            || block.x > 1024 || block.y > 1024 || block.z > 64 || threads > MOST_THREADS || shared > f->most_dynamic_shared
            || extra != nullptr || (kernel.count != 0 && params == nullptr)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (threads > kernel.threads) {
        std::fprintf(stderr, "simt: kernel %s has registers for blocks of up to %u threads, and was launched with %llu\n", kernel.name,
                kernel.threads, static_cast<unsigned long long>(threads));
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    }
    launch = std::make_shared<Launch>(Launch{f, f->kernel, f->entry, f->module->loaded, grid, block, shared, {}, {}});
    size_t total = 0;
    for (unsigned i = 0; i < kernel.count; i++) {
        total += (kernel.sizes[i] + 15) / 16 * 16;
    }
    launch->bytes.resize(total);
    size_t offset = 0;
    for (unsigned i = 0; i < kernel.count; i++) {
        std::memcpy(launch->bytes.data() + offset, params[i], kernel.sizes[i]);
        launch->params.push_back(launch->bytes.data() + offset);
        offset += (kernel.sizes[i] + 15) / 16 * 16;
    }
    return CUDA_SUCCESS;
}

void destroy_context_content(Context* context) {
    for (Module* module : std::vector<Module*>(modules.all().begin(), modules.all().end())) {
        if (module->context == context) {
            unload_module(module);
        }
    }
    streams.remove_all_of(context);
    events.remove_all_of(context);
    graph_execs.remove_all_of(context);
    release_all(context);
}

bool check_range(const char* name, const void* address, size_t bytes, bool write) {
    if (bytes == 0 || is_device_range(CUdeviceptr(address), bytes)) {
        if (write) {
            mark_written(uintptr_t(address), bytes, true);
        }
        return true;
    }
    uintptr_t wrong = uintptr_t(address);
    const Allocation* allocation = find_allocation(wrong, 1);
    if (allocation != nullptr) {
        wrong = allocation->start + allocation->bytes;
    }
    std::fprintf(stderr, "simt: %s %s %zu bytes at %p, of which 0x%zx is %s\n", name, write ? "writes" : "reads", bytes, address, wrong,
            describe_address(wrong).c_str());
    if (Context* context = running != nullptr ? running : current_context()) {
        context->broken = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    return false;
}

}  // namespace simt

using namespace simt;

// Begins a call: declares `call`, and returns the reason why it may not go on.
#define BEGIN(needs) \
    Call call(Needs::needs); \
    if (call.error != CUDA_SUCCESS) { \
        return call.error; \
    }
#define REQUIRE(condition, otherwise) \
    if (!(condition)) { \
        return otherwise; \
    }

// Initialisation and errors

EXPORT cuInit(unsigned flags) {
    static bool environment_read = false;
    {
        std::lock_guard<std::recursive_mutex> guard(driver_lock);
        if (!environment_read) {
            environment_read = true;
            panel_from_environment();
            // A process that ends waits for the call at which another thread is: what that works on is gone afterwards.
            std::atexit([] { driver_lock.lock(); });
        }
    }
    BEGIN(NOTHING)
    REQUIRE(flags == 0, CUDA_ERROR_INVALID_VALUE)
    REQUIRE(panel.devices > 0, CUDA_ERROR_NO_DEVICE)
    initialised = true;
    return CUDA_SUCCESS;
}

EXPORT cuDriverGetVersion(int* version) {
    BEGIN(NOTHING)
    REQUIRE(version != nullptr, CUDA_ERROR_INVALID_VALUE)
    *version = int(panel.driver_version);
    return CUDA_SUCCESS;
}

EXPORT cuGetErrorName(CUresult error, const char** name) {
    for (const ErrorText& known : ERROR_TEXTS) {
        if (known.error == error) {
            *name = known.name;
            return CUDA_SUCCESS;
        }
    }
    *name = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

EXPORT cuGetErrorString(CUresult error, const char** text) {
    for (const ErrorText& known : ERROR_TEXTS) {
        if (known.error == error) {
            *text = known.text;
            return CUDA_SUCCESS;
        }
    }
    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

// Devices

EXPORT cuDeviceGetCount(int* count) {
    BEGIN(INIT)
    *count = int(panel.devices);
    return CUDA_SUCCESS;
}

EXPORT cuDeviceGet(int* device, int ordinal) {
    BEGIN(INIT)
    REQUIRE(is_device(ordinal), CUDA_ERROR_INVALID_DEVICE)
    *device = ordinal;
    return CUDA_SUCCESS;
}

EXPORT cuDeviceGetName(char* name, int length, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    copy_text(name, length, panel.name);
    return CUDA_SUCCESS;
}

EXPORT cuDeviceGetAttribute(int* value, int number, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    return attribute(number, *value);
}

EXPORT cuDeviceComputeCapability(int* major, int* minor, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    *major = int(panel.capability / 10);
    *minor = int(panel.capability % 10);
    return CUDA_SUCCESS;
}

EXPORT cuDeviceTotalMem_v2(size_t* bytes, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    *bytes = panel.total_memory;
    return CUDA_SUCCESS;
}

EXPORT cuDeviceGetUuid(unsigned char* uuid, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    std::memcpy(uuid, "SIMT driver    ", 15);
    uuid[15] = (unsigned char)device;
    return CUDA_SUCCESS;
}

EXPORT cuDeviceGetPCIBusId(char* text, int length, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    copy_text(text, length, "0000:00:0" + std::string(1, "0123456789abcdef"[device]) + ".0");
    return CUDA_SUCCESS;
}

EXPORT cuDeviceCanAccessPeer(int* can, int device, int peer) {
    BEGIN(INIT)
    REQUIRE(is_device(device) && is_device(peer), CUDA_ERROR_INVALID_DEVICE)
    *can = 0;
    return CUDA_SUCCESS;
}

// Contexts

EXPORT cuDevicePrimaryCtxRetain(Context** context, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    *context = primary_of(device);
    primaries[device].references++;
    return CUDA_SUCCESS;
}

EXPORT cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    Primary& primary = primaries[device];
    REQUIRE(primary.references > 0, CUDA_ERROR_INVALID_CONTEXT)
    CUresult error = CUDA_SUCCESS;
    if (--primary.references == 0) {
        error = destroy_context(primary.context);
        primary.context = nullptr;
    }
    return error;
}

EXPORT cuDevicePrimaryCtxReset_v2(int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    if (Context* context = primaries[device].context) {
        late::finish(context);
        destroy_context_content(context);
        context->broken = CUDA_SUCCESS;
    }
    return CUDA_SUCCESS;
}

EXPORT cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    *flags = primaries[device].flags;
    *active = primaries[device].context != nullptr;
    return CUDA_SUCCESS;
}

EXPORT cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    primaries[device].flags = flags;
    return CUDA_SUCCESS;
}

EXPORT cuCtxCreate_v2(Context** context, unsigned flags, int device) {
    BEGIN(INIT)
    REQUIRE(is_device(device), CUDA_ERROR_INVALID_DEVICE)
    *context = contexts.add(Context{device, flags, false, CUDA_SUCCESS});
    context_stack.push_back(*context);
    return CUDA_SUCCESS;
}

EXPORT cuCtxDestroy_v2(Context* context) {
    BEGIN(INIT)
    REQUIRE(contexts.has(context) && !context->primary, CUDA_ERROR_INVALID_CONTEXT)
    if (current_context() == context) {
        context_stack.pop_back();
    }
    return destroy_context(context);
}

EXPORT cuCtxSetCurrent(Context* context) {
    BEGIN(INIT)
    REQUIRE(context == nullptr || contexts.has(context), CUDA_ERROR_INVALID_CONTEXT)
    if (!context_stack.empty()) {
        context_stack.pop_back();
    }
    if (context != nullptr) {
        context_stack.push_back(context);
    }
    return CUDA_SUCCESS;
}

EXPORT cuCtxGetCurrent(Context** context) {
    BEGIN(INIT)
    *context = current_context();
    return CUDA_SUCCESS;
}

EXPORT cuCtxPushCurrent_v2(Context* context) {
    BEGIN(INIT)
    REQUIRE(contexts.has(context), CUDA_ERROR_INVALID_CONTEXT)
    context_stack.push_back(context);
    return CUDA_SUCCESS;
}

EXPORT cuCtxPopCurrent_v2(Context** context) {
    BEGIN(INIT)
    REQUIRE(!context_stack.empty(), CUDA_ERROR_INVALID_CONTEXT)
    if (context != nullptr) {
        *context = context_stack.back();
    }
    context_stack.pop_back();
    return CUDA_SUCCESS;
}

EXPORT cuCtxGetDevice(int* device) {
    BEGIN(CONTEXT)
    *device = call.context->device;
    return CUDA_SUCCESS;
}

EXPORT cuCtxGetFlags(unsigned* flags) {
    BEGIN(CONTEXT)
    *flags = call.context->flags;
    return CUDA_SUCCESS;
}

EXPORT cuCtxGetApiVersion(Context* context, unsigned* version) {
    BEGIN(INIT)
    REQUIRE(context == nullptr ? current_context() != nullptr : contexts.has(context), CUDA_ERROR_INVALID_CONTEXT)
    *version = 3020;
    return CUDA_SUCCESS;
}

EXPORT cuCtxSynchronize() {
    BEGIN(CONTEXT)
    CUresult error = refuse_in_context(call.context);
    return error != CUDA_SUCCESS ? error : late::finish(call.context);
}

EXPORT cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    BEGIN(CONTEXT)
    if (least != nullptr) {
        *least = 0;
    }
    if (greatest != nullptr) {
        *greatest = -5;
    }
    return CUDA_SUCCESS;
}

EXPORT cuCtxSetLimit(unsigned limit, size_t value) {
    if (limit >= PANEL_FIRST) {
        std::lock_guard<std::recursive_mutex> guard(driver_lock);
        return panel_set(limit, value);
    }
    BEGIN(CONTEXT)
    return limit < 10 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT cuCtxGetLimit(size_t* value, unsigned limit) {
    if (limit >= PANEL_FIRST) {
        std::lock_guard<std::recursive_mutex> guard(driver_lock);
        return panel_get(limit, value);
    }
    BEGIN(CONTEXT)
    constexpr size_t DEFAULTS[] = {1024, 1 << 20, 8 << 20};
    REQUIRE(limit < 3, CUDA_ERROR_INVALID_VALUE)
    *value = DEFAULTS[limit];
    return CUDA_SUCCESS;
}

// Memory

EXPORT cuMemGetInfo_v2(size_t* available, size_t* total) {
    BEGIN(CONTEXT)
    *available = free_memory();
    *total = panel.total_memory;
    return CUDA_SUCCESS;
}

EXPORT cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
    BEGIN(CONTEXT)
    return allocate_memory(call.context, reinterpret_cast<void**>(pointer), bytes, Kind::DEVICE);
}

EXPORT cuMemFree_v2(CUdeviceptr pointer) {
    BEGIN(CONTEXT)
    return free_memory_at(pointer, Kind::DEVICE);
}

EXPORT cuMemGetAddressRange_v2(CUdeviceptr* start, size_t* bytes, CUdeviceptr pointer) {
    BEGIN(CONTEXT)
    const Allocation* allocation = find_allocation(pointer, 1);
    REQUIRE(allocation != nullptr, CUDA_ERROR_NOT_FOUND)
    if (start != nullptr) {
        *start = allocation->start;
    }
    if (bytes != nullptr) {
        *bytes = allocation->bytes;
    }
    return CUDA_SUCCESS;
}

EXPORT cuMemAllocHost_v2(void** pointer, size_t bytes) {
    BEGIN(CONTEXT)
    return allocate_memory(call.context, pointer, bytes, Kind::HOST);
}

EXPORT cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    BEGIN(CONTEXT)
    return allocate_memory(call.context, pointer, bytes, Kind::HOST);
}

EXPORT cuMemFreeHost(void* pointer) {
    BEGIN(CONTEXT)
    return free_memory_at(CUdeviceptr(pointer), Kind::HOST);
}

EXPORT cuMemHostGetDevicePointer_v2(CUdeviceptr* pointer, void* host, unsigned flags) {
    BEGIN(CONTEXT)
    REQUIRE(flags == 0 && is_device_range(CUdeviceptr(host), 1), CUDA_ERROR_INVALID_VALUE)
    *pointer = CUdeviceptr(host);
    return CUDA_SUCCESS;
}

EXPORT cuMemHostGetFlags(unsigned* flags, void* host) {
    BEGIN(CONTEXT)
    REQUIRE(is_device_range(CUdeviceptr(host), 1), CUDA_ERROR_INVALID_VALUE)
    *flags = 2;  // CU_MEMHOSTALLOC_DEVICEMAP
    return CUDA_SUCCESS;
}

EXPORT cuMemHostRegister_v2(void* host, size_t bytes, unsigned) {
    BEGIN(CONTEXT)
    REQUIRE(host != nullptr && bytes != 0, CUDA_ERROR_INVALID_VALUE)
    if (CUresult error = refuse_unsafe_call()) {
        return error;
    }
    return register_host(uintptr_t(host), bytes) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

EXPORT cuMemHostUnregister(void* host) {
    BEGIN(CONTEXT)
    if (CUresult error = refuse_unsafe_call()) {
        return error;
    }
    return unregister_host(uintptr_t(host)) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

EXPORT cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    BEGIN(CONTEXT)
    return copy(call.context, nullptr, false, reinterpret_cast<void*>(to), from, bytes, true, false);
}

EXPORT cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    BEGIN(CONTEXT)
    return copy(call.context, nullptr, false, to, reinterpret_cast<void*>(from), bytes, false, true);
}

EXPORT cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    BEGIN(CONTEXT)
    return copy(call.context, nullptr, false, reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes, true, true);
}

EXPORT cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, void* stream) {
    BEGIN(CONTEXT)
    return copy(call.context, stream, true, reinterpret_cast<void*>(to), from, bytes, true, false);
}

EXPORT cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, void* stream) {
    BEGIN(CONTEXT)
    return copy(call.context, stream, true, to, reinterpret_cast<void*>(from), bytes, false, true);
}

EXPORT cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void* stream) {
    BEGIN(CONTEXT)
    return copy(call.context, stream, true, reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes, true, true);
}

EXPORT cuMemsetD8_v2(CUdeviceptr start, unsigned char value, size_t count) {
    BEGIN(CONTEXT)
    return fill(call.context, nullptr, false, start, value, count);
}

EXPORT cuMemsetD16_v2(CUdeviceptr start, unsigned short value, size_t count) {
    BEGIN(CONTEXT)
    return fill(call.context, nullptr, false, start, value, count);
}

EXPORT cuMemsetD32_v2(CUdeviceptr start, unsigned value, size_t count) {
    BEGIN(CONTEXT)
    return fill(call.context, nullptr, false, start, value, count);
}

EXPORT cuMemsetD8Async(CUdeviceptr start, unsigned char value, size_t count, void* stream) {
    BEGIN(CONTEXT)
    return fill(call.context, stream, true, start, value, count);
}

EXPORT cuMemsetD16Async(CUdeviceptr start, unsigned short value, size_t count, void* stream) {
    BEGIN(CONTEXT)
    return fill(call.context, stream, true, start, value, count);
}

EXPORT cuMemsetD32Async(CUdeviceptr start, unsigned value, size_t count, void* stream) {
    BEGIN(CONTEXT)
    return fill(call.context, stream, true, start, value, count);
}

// Modules, functions and launches

EXPORT cuModuleLoadData(Module** module, const void* image) {
    BEGIN(CONTEXT)
    return load_module(call.context, module, static_cast<const char*>(image), 0, nullptr, nullptr);
}

EXPORT cuModuleLoadDataEx(Module** module, const void* image, unsigned option_count, int* options, void** values) {
    BEGIN(CONTEXT)
    return load_module(call.context, module, static_cast<const char*>(image), option_count, options, values);
}

EXPORT cuModuleLoad(Module** module, const char* path) {
    BEGIN(CONTEXT)
    std::ifstream file(path);
    REQUIRE(file, CUDA_ERROR_FILE_NOT_FOUND)
    std::stringstream text;
    text << file.rdbuf();
    return load_module(call.context, module, text.str().c_str(), 0, nullptr, nullptr);
}

EXPORT cuModuleUnload(Module* module) {
    BEGIN(CONTEXT)
    REQUIRE(modules.has(module), CUDA_ERROR_INVALID_HANDLE)
    if (CUresult error = refuse_unsafe_call()) {
        return error;
    }
    unload_module(module);
    return CUDA_SUCCESS;
}

EXPORT cuModuleGetFunction(Function** function, Module* module, const char* name) {
    BEGIN(CONTEXT)
    REQUIRE(modules.has(module), CUDA_ERROR_INVALID_HANDLE)
    for (Function* candidate : module->functions) {
        if (std::strcmp(candidate->kernel->name, name) == 0) {
            *function = candidate;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_NOT_FOUND;
}

EXPORT cuModuleGetGlobal_v2(CUdeviceptr*, size_t*, Module* module, const char*) {
    BEGIN(CONTEXT)
    return modules.has(module) ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT cuModuleGetLoadingMode(int* mode) {
    BEGIN(INIT)
    *mode = 1;  // CU_MODULE_EAGER_LOADING
    return CUDA_SUCCESS;
}

EXPORT cuFuncGetModule(Module** module, Function* function) {
    BEGIN(CONTEXT)
    REQUIRE(functions.has(function), CUDA_ERROR_INVALID_HANDLE)
    *module = function->module;
    return CUDA_SUCCESS;
}

EXPORT cuFuncGetAttribute(int* value, int number, Function* function) {
    BEGIN(CONTEXT)
    REQUIRE(functions.has(function), CUDA_ERROR_INVALID_HANDLE)
    switch (number) {
        case 0: *value = int(function->kernel->threads); return CUDA_SUCCESS;
        case 1: *value = int(function->static_shared); return CUDA_SUCCESS;
        case 4: *value = 32; return CUDA_SUCCESS;  // registers of a thread
        case 5:
        case 6: *value = int(panel.capability); return CUDA_SUCCESS;  // versions of the PTX and of the binary
        case 8: *value = int(function->most_dynamic_shared); return CUDA_SUCCESS;
        default: *value = 0; return number >= 0 && number < 16 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
}

EXPORT cuFuncSetAttribute(Function* function, int number, int value) {
    BEGIN(CONTEXT)
    REQUIRE(functions.has(function), CUDA_ERROR_INVALID_HANDLE)
    if (number == 8 && value >= 0 && value <= int(SHARED_OPT_IN - function->static_shared)) {
        function->most_dynamic_shared = unsigned(value);
        return CUDA_SUCCESS;
    }
    return number == 9 && value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT cuFuncSetCacheConfig(Function* function, int) {
    BEGIN(CONTEXT)
    return functions.has(function) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
        unsigned block_z, unsigned shared, void* stream, void** params, void** extra) {
    BEGIN(CONTEXT)
    std::shared_ptr<Launch> launch;
    CUresult error = make_launch(call.context, function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, params, extra,
            launch);
    REQUIRE(error == CUDA_SUCCESS, error)
    return submit(call.context, stream, Work{Work::KERNEL, call.context, nullptr, launch, nullptr});
}

EXPORT cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function* function, int threads, size_t shared) {
    BEGIN(CONTEXT)
    REQUIRE(functions.has(function), CUDA_ERROR_INVALID_HANDLE)
    REQUIRE(threads > 0, CUDA_ERROR_INVALID_VALUE)
    bool fits = threads <= int(function->kernel->threads) && shared <= function->most_dynamic_shared;
    *blocks = fits ? std::min(32, 2048 / ((threads + 31) / 32 * 32)) : 0;
    return CUDA_SUCCESS;
}

EXPORT cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, Function* function, int threads, size_t shared, unsigned) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, shared);
}

EXPORT cuProfilerStart() {
    BEGIN(CONTEXT)
    return CUDA_SUCCESS;
}

EXPORT cuProfilerStop() {
    BEGIN(CONTEXT)
    return CUDA_SUCCESS;
}
