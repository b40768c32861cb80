// What the parts of the driver share: CUDA's constants, and the objects behind its handles.
#pragma once

#include "enqueue.h"
#include "simt.h"

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

using CUdeviceptr = unsigned long long;

enum : CUresult {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_IMAGE = 200,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_INVALID_PTX = 218,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
    CUDA_ERROR_FILE_NOT_FOUND = 301,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_ILLEGAL_STATE = 401,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
    CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = 708,
    CUDA_ERROR_CONTEXT_IS_DESTROYED = 709,
    CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = 712,
    CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED = 713,
    CUDA_ERROR_MISALIGNED_ADDRESS = 716,
    CUDA_ERROR_LAUNCH_FAILED = 719,
    CUDA_ERROR_NOT_SUPPORTED = 801,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
    CUDA_ERROR_STREAM_CAPTURE_MERGE = 902,
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903,
    CUDA_ERROR_STREAM_CAPTURE_UNJOINED = 904,
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906,
    CUDA_ERROR_CAPTURED_EVENT = 907,
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908,
    CUDA_ERROR_UNKNOWN = 999,
};

namespace simt {

namespace ptx {
struct Entry;
}

// Work that waits (see late.h).
using Queue = std::vector<std::shared_ptr<struct Queued>>;

struct Context {
    int device;
    unsigned flags;
    bool primary;
    CUresult broken;  // what every call returns once a kernel has failed
    std::list<std::shared_ptr<Queued>> queued = {};
    Queue last = {};  // of the legacy stream: what its next work waits for
};

struct Module {
    Context* context;
    std::vector<struct Function*> functions;
    std::shared_ptr<bool> loaded = std::make_shared<bool>(true);  // until it is unloaded
};

struct Function {
    Module* module;
    const Kernel* kernel;
    std::shared_ptr<const ptx::Entry> entry;  // null where g++ compiled the kernel
    unsigned static_shared, most_dynamic_shared;  // bytes that its PTX declares, and that a launch may add
};

// One piece of work in a stream or a graph.
struct Work {
    enum Type { KERNEL = 0, MEMCPY = 1, MEMSET = 2, EMPTY = 5 };
    Type type;
    Context* context;
    std::function<void()> run;
    // Only for kernels: what cuGraphKernelNodeGetParams tells.
    std::shared_ptr<struct Launch> launch;
    const char* library;  // the function of a library that this is the work of, or null
};

struct Node {
    Work work;
    std::vector<const Node*> after;
};

struct Graph {
    std::vector<std::shared_ptr<Node>> nodes;
};

// An instantiated graph: its own copy of the work, found by the node of the graph it was made from.
struct GraphExec {
    struct Entry {
        const Node* node;
        Work work;
        std::vector<size_t> after;  // entries that come earlier in the list
    };
    Context* context;
    std::vector<Entry> work;
    std::shared_ptr<Queued> last = nullptr;
};

struct Stream;

enum CaptureMode { CAPTURE_GLOBAL = 0, CAPTURE_THREAD_LOCAL = 1, CAPTURE_RELAXED = 2 };

struct Capture {
    Stream* origin;
    CaptureMode mode;
    std::thread::id thread;
    bool valid;
    uint64_t id;
    std::vector<std::shared_ptr<Node>> nodes;
    std::unordered_set<Stream*> streams;
    std::unordered_map<const Stream*, std::vector<const Node*>> last = {};  // what the next work of a stream waits for
    std::unordered_map<const Stream*, std::unordered_set<const Stream*>> joined = {};  // and the streams that it waits for
};

struct Stream {
    Context* context;
    unsigned flags;
    int priority;
    uint64_t id;
    std::shared_ptr<Capture> capture;
    Queue last = {};  // what its next work waits for
};

struct Event {
    Context* context;
    unsigned flags;
    bool recorded;
    std::chrono::steady_clock::time_point time;
    std::shared_ptr<Capture> capture;  // it was recorded by this one
    std::vector<const Node*> captured = {};  // what waits for it waits for these
    std::unordered_set<const Stream*> joined = {};
    std::shared_ptr<Queued> queued = nullptr;
};

// The live objects of one type; a handle that is not among them is refused.
template <class T> class Handles {
public:
    T* add(T object) {
        auto added = new T(std::move(object));
        live.insert(added);
        return added;
    }
    bool has(const void* handle) const { return live.count(static_cast<T*>(const_cast<void*>(handle))) != 0; }
    void remove(T* object) {
        live.erase(object);
        delete object;
    }
    void remove_all_of(const Context* context) {
        for (auto i = live.begin(); i != live.end();) {
            if ((*i)->context == context) {
                delete *i;
                i = live.erase(i);
            } else {
                ++i;
            }
        }
    }
    const std::unordered_set<T*>& all() const { return live; }

private:
    std::unordered_set<T*> live;
};

extern std::recursive_mutex driver_lock;
extern Handles<Context> contexts;
extern Handles<Module> modules;
extern Handles<Function> functions;
extern Handles<Stream> streams;
extern Handles<Event> events;
extern Handles<GraphExec> graph_execs;

// What a call needs before it may do anything.
enum class Needs { NOTHING, INIT, CONTEXT };

// Holds the lock of the driver during one call, counts it, and says why it may not go on.
class Call {
public:
    explicit Call(Needs needs);
    CUresult error;
    Context* context = nullptr;

private:
    std::lock_guard<std::recursive_mutex> guard;
};

// The handle of the current context, dead or alive; null when there is none.
Context* current_context();

// Does the work now, or later with SIMT_LATE=1; or puts it into the graph that the stream captures.
CUresult submit(Context* context, void* stream, Work work);

// The error of work that has just run: as on a GPU, the launch itself does not report it, but every later call does. With
// CUDA_LAUNCH_BLOCKING=1 in the environment the launch does too.
CUresult after_work(const Context* context);

// The context whose work runs now; null when none does.
extern thread_local Context* running;

// Refuse what a capture under way forbids, and invalidate it. Calls that are only unsafe are a matter of its mode and of the thread's.
CUresult refuse_unsafe_call();
CUresult refuse_in_capture(void* stream);
CUresult refuse_in_context(const Context* context);
CUresult refuse_legacy_stream(const Context* context);

// A kernel with copies of its parameters.
struct Launch {
    Function* function;
    const Kernel* kernel;
    std::shared_ptr<const ptx::Entry> entry;
    std::shared_ptr<const bool> loaded;
    uint3 grid, block;
    unsigned shared;
    std::vector<unsigned char> bytes;
    std::vector<void*> params;  // into bytes

    void run(Context* context) const;
};
CUresult make_launch(const Context* context, void* function, uint3 grid, uint3 block, unsigned shared, void** params, void** extra,
        std::shared_ptr<Launch>& launch);

// A kernel of libkernels.so.
const Kernel* find_kernel(const std::string& name);

// Whether the driver would read such PTX at all: what it says of itself, its version and target. A message with each error.
CUresult check_ptx_header(const char* text, std::string& message);

// Frees what belongs to a context.
void destroy_context_content(Context* context);

}  // namespace simt
