// Device memory: one reserved region, and a shadow that says which of its bytes belong to an allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace simt {

struct Region {
    uintptr_t base;
    size_t bytes;
    unsigned char* shadow;   // for every 16 bytes, how many of them may be used
    unsigned char* written;  // for every byte a bit: whether anybody has written it since it was allocated
};
extern Region region;

enum class Kind { DEVICE, HOST };  // HOST is page-locked memory, which kernels may use too

struct Allocation {
    uintptr_t start;
    size_t bytes;
    Kind kind;
    const void* owner;
    bool freed;
};

// Null when the region cannot be reserved or is full. New memory holds 0xff in every byte.
void* allocate(size_t bytes, Kind kind, const void* owner);
// Whether these bytes, if they are device memory, have been written.
void mark_written(uintptr_t start, size_t bytes, bool written);
// False when no allocation of that kind begins there.
bool release(uintptr_t start, Kind kind);
void release_all(const void* owner);

// The live allocation that holds all these bytes; null when there is none.
const Allocation* find_allocation(uintptr_t start, size_t bytes);

size_t live_allocations();
size_t live_bytes();  // of device memory

// Other host memory that kernels may use, from cuMemHostRegister.
bool register_host(uintptr_t start, size_t bytes);
bool unregister_host(uintptr_t start);
bool is_registered_host(uintptr_t start, size_t bytes);

// What lies at an address that may not be used, for messages.
std::string describe_address(uintptr_t address);

}  // namespace simt
