// Which accesses to memory race, and which memory kernels may read besides that of the device.
#pragma once

#include "machine.h"

namespace simt {

// An access: interval between barriers, thread, and how many __syncwarps its warp had done.
using Stamp = uint64_t;
constexpr unsigned SYNC_BITS = 22;

inline Stamp stamp_of(const Fiber& now) {
    return Stamp(machine.epoch) << 32 | Stamp(now.thread) << SYNC_BITS | now.warp->syncs;
}
inline uint32_t epoch_of(Stamp s) { return uint32_t(s >> 32); }
inline unsigned thread_of(Stamp s) { return unsigned(s >> SYNC_BITS & 1023); }
inline uint32_t syncs_of(Stamp s) { return s & ((1u << SYNC_BITS) - 1); }

// What happened to one element of memory: the last write, and two reads by different threads. The second is kept from
// another warp than the first where there was one, so a later write by anybody conflicts with one of them.
struct Cell {
    Stamp write, read, other_read;
};

// Whether an access comes before what the running thread does now: it was the thread's own, a barrier lies between, or it belongs to an interval
// before `since`. All other blocks' accesses since then race.
inline bool ordered(Stamp before, const Fiber& now, uint32_t since) {
    uint32_t epoch = epoch_of(before);
    if (epoch < machine.epoch) {
        return epoch >= machine.block_epoch || epoch < since;
    }
    unsigned thread = thread_of(before);
    if (thread == now.thread) {
        return true;
    }
    if (thread / 32 != now.thread / 32) {
        return false;
    }
    return now.warp->full_sync > syncs_of(before)
            || (now.warp->pairs_used && now.warp->pair_sync[now.lane][thread % 32] > syncs_of(before));
}

struct Conflict {
    Stamp with;
    bool wrote;
    explicit operator bool() const { return with != 0; }
};
// Notes an access, unless it conflicts with one that is not ordered before it.
inline Conflict touch(Cell& cell, bool write, Stamp stamp, const Fiber& now, uint32_t since) {
    if (!ordered(cell.write, now, since)) {
        return {cell.write, true};
    }
    if (write) {
        for (Stamp read : {cell.read, cell.other_read}) {
            if (!ordered(read, now, since)) {
                return {read, false};
            }
        }
        cell.write = stamp;
    } else if (ordered(cell.read, now, since)) {
        cell.read = stamp;
    } else {
        bool keep = !ordered(cell.other_read, now, since) && thread_of(cell.other_read) / 32 != thread_of(cell.read) / 32
                && now.thread / 32 == thread_of(cell.read) / 32;
        if (!keep) {
            cell.other_read = stamp;
        }
    }
    return {0, false};
}

// Kernels may read the constants of the library that holds this symbol.
void allow_reading_image_of(const void* symbol);

}  // namespace simt
