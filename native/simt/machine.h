// The machine: runs one block after the other, each thread of a block on a fiber.
#pragma once

#include "simt.h"

#include <cstdarg>
#include <string>

namespace simt {

constexpr unsigned MOST_THREADS = 1024;
// A kernel that does not say how many threads its blocks have may be given 255 registers a thread, of the 65536 of a multiprocessor,
// which are dealt out to a warp in units of 256.
constexpr unsigned UNBOUNDED_THREADS = 256;
constexpr unsigned WARPS = MOST_THREADS / 32;
constexpr size_t STACK = 128 * 1024;
// Shared memory of a block: what there is unasked, and what a kernel may ask for with cuFuncSetAttribute (compute capability 9.0).
constexpr unsigned SHARED_LIMIT = 48 * 1024;
constexpr unsigned SHARED_OPT_IN = 227 * 1024;
// Arrays have a gap behind them, which the limits do not count.
constexpr unsigned SHARED_ARENA = 2 * SHARED_OPT_IN;

struct Warp;

// A thread that runs at present, and the stack that it runs on.
struct Fiber {
    uint64_t* result;  // of the operation it waits at; simt_meet wants it first
    void* sp;
    char* stack;  // null for a thread of PTX, which has none
    Warp* warp;
    unsigned thread, lane;
    uint3 index;
};

struct Warp {
    uint32_t exists, ready, waiting, ended;  // lanes: there at all, may run, wait for other lanes, have ended
    uint32_t barrier;                        // lanes that wait for the whole block
    // The operation that lanes wait at since the first of them came, and whether others wait at another one.
    Wait first_at;
    uint32_t first_mask;
    bool mixed;
    Wait at[32];
    uint32_t mask[32];
    uint64_t value[32], result[32];
    uint32_t source[32];

    // __syncwarps so far in this block: all of them, the last that every lane took part in, the last of each pair of lanes.
    uint32_t syncs, full_sync;
    bool pairs_used;
    uint32_t pair_sync[32][32];
};

struct Machine {
    char* shared;
    uint32_t epoch;        // counts intervals between barriers over all blocks ever run
    uint32_t block_epoch;  // the first one of this block
    uint64_t block_serial;
    unsigned shared_top, shared_bytes;
    unsigned dynamic_shared;  // bytes given at the launch
    uint3 grid, block, index;
    bool descending;  // the order of lanes and warps changes at every barrier, so a missing one shows
    Warp warps[WARPS];
};

extern Machine machine;

}  // namespace simt

// The running thread; null while no kernel runs.
extern "C" __attribute__((visibility("hidden"))) simt::Fiber* simt_current;

namespace simt {

// Runs a kernel to its end; 0 or the CUresult of what went wrong, about which a line was written to stderr.
int run(const Kernel& kernel, uint3 grid, uint3 block, unsigned shared, void* const* params);

// Makes the memory for shared arrays; false when there is none.
bool reserve_shared();
// The next interval between barriers.
void next_epoch();
void begin_warp(Warp& warp, unsigned lanes);
// The lanes have met at a __syncwarp.
void count_syncwarp(Warp& warp, uint32_t mask);

// Ends the running kernel with an error; where its threads have no fibers, by this exception.
struct Failure {
    int error;
    std::string text;
};
[[noreturn]] void fail(int error, const char* format, ...) __attribute__((format(printf, 2, 3)));

// The arrays of shared memory that the running block has; null where there is none at or below the offset.
struct SharedArray {
    const char* name;
    unsigned offset, bytes;
};
const SharedArray* shared_array_below(unsigned offset);

// Tells the checks about a new array and about the end of a block (checks.cpp).
void shared_added(unsigned offset, unsigned bytes, unsigned element);
void shared_gone(unsigned bytes);

}  // namespace simt
