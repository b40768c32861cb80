// Looks at every access that a kernel makes to memory.
//
// g++ -fsanitize=kernel-address calls __asan_loadN and __asan_storeN before each access, -fsanitize=alignment and bounds call
// the __ubsan functions when a pointer is not aligned or an index leaves its array. They are answered here; the runtime library
// of the sanitizer is not linked.
#include "checks.h"

#include "driver.h"
#include "machine.h"
#include "memory.h"

#include <link.h>

namespace simt {

namespace {

constexpr unsigned GRANULES = SHARED_ARENA / 16;
unsigned char valid[GRANULES];      // bytes of each 16 that belong to an array
unsigned char cell_shift[GRANULES]; // its elements have 1 << shift bytes, at most 4
// Elements of 1, 2 and 4 bytes are looked up in their own table.
Cell cells_of_1[SHARED_ARENA], cells_of_2[SHARED_ARENA / 2], cells_of_4[SHARED_ARENA / 4];
Cell* const cells[3] = {cells_of_1, cells_of_2, cells_of_4};

struct Range {
    uintptr_t start, end;
};
Range image[16];
int image_parts;

const char* verb(bool write) { return write ? "writes" : "reads"; }

std::string array_name(unsigned offset) {
    const SharedArray* array = shared_array_below(offset);
    return array == nullptr ? "shared memory" : std::string(array->name) + " (byte " + std::to_string(offset - array->offset) + ")";
}

[[noreturn]] void fail_race(unsigned offset, bool write, Stamp other, bool other_wrote) {
    unsigned thread = thread_of(other);
    uint3 block = machine.block;
    bool same_warp = thread / 32 == simt_current->thread / 32;
    fail(CUDA_ERROR_LAUNCH_FAILED, "race on shared memory: %s %s, which thread (%u,%u,%u) %s and nothing orders the two; a %s is "
            "missing", verb(write), array_name(offset).c_str(), thread % block.x, thread / block.x % block.y,
            thread / (block.x * block.y), other_wrote ? "wrote" : "read", same_warp ? "__syncwarp or __syncthreads" : "__syncthreads");
}

void touch_cell(Cell& cell, unsigned offset, bool write, Stamp stamp, const Fiber& now) {
    if (!write && epoch_of(cell.write) < machine.block_epoch) {
        fail(CUDA_ERROR_LAUNCH_FAILED, "reads %s in shared memory, which no thread of this block has written yet: it never is, or a barrier is "
                "missing", array_name(offset).c_str());
    }
    if (Conflict conflict = touch(cell, write, stamp, now, machine.block_epoch)) {
        fail_race(offset, write, conflict.with, conflict.wrote);
    }
}

void touch_shared(unsigned offset, unsigned bytes, bool write) {
    if (bytes <= 16 && (bytes & (bytes - 1)) == 0 && offset % bytes != 0) {
        fail(CUDA_ERROR_MISALIGNED_ADDRESS, "%s %u bytes of %s in shared memory, which are not aligned to %u", verb(write), bytes,
                array_name(offset).c_str(), bytes);
    }
    const Fiber& now = *simt_current;
    Stamp stamp = stamp_of(now);
    unsigned end = offset + bytes;
    while (offset < end) {
        unsigned granule = offset / 16;
        if (granule >= GRANULES || offset % 16 >= valid[granule]) {
            fail(CUDA_ERROR_ILLEGAL_ADDRESS, "%s shared memory outside every array, after %s", verb(write), array_name(offset).c_str());
        }
        unsigned shift = cell_shift[granule];
        touch_cell(cells[shift][offset >> shift], offset, write, stamp, now);
        offset = ((offset >> shift) + 1) << shift;
    }
}

[[noreturn]] void fail_global(uintptr_t address, size_t bytes, bool write) {
    if (bytes <= 16 && (bytes & (bytes - 1)) == 0 && address % bytes != 0) {
        fail(CUDA_ERROR_MISALIGNED_ADDRESS, "%s %zu bytes at 0x%zx, which is not aligned to %zu", verb(write), bytes, address, bytes);
    }
    // The first byte that is wrong says how far past an end it lies.
    uintptr_t wrong = address;
    while (wrong < address + bytes - 1 && find_allocation(wrong, 1) != nullptr) {
        wrong++;
    }
    fail(CUDA_ERROR_ILLEGAL_ADDRESS, "%s %zu bytes at 0x%zx, of which 0x%zx is %s", verb(write), bytes, address, wrong,
            describe_address(wrong).c_str());
}

// Neither device memory nor shared memory nor the own stack.
void touch_other(uintptr_t address, size_t bytes, bool write) {
    for (int i = 0; i < image_parts && !write; i++) {
        if (address >= image[i].start && address + bytes <= image[i].end) {
            return;
        }
    }
    if (is_registered_host(address, bytes)) {
        return;
    }
    fail_global(address, bytes, write);
}

bool on_own_stack(uintptr_t address) {
    return address - uintptr_t(simt_current->stack) < STACK;
}

template <size_t BYTES, bool WRITE> inline void touch(uintptr_t address) {
    uintptr_t offset = address - region.base;
    if (offset < region.bytes) {
        if ((address & (BYTES - 1)) != 0 || (address & 15) + BYTES > region.shadow[offset / 16]) {
            fail_global(address, BYTES, WRITE);
        }
        return;
    }
    if (simt_current == nullptr || on_own_stack(address)) {
        return;
    }
    offset = address - uintptr_t(machine.shared);
    if (offset < SHARED_ARENA) {
        touch_shared(unsigned(offset), BYTES, WRITE);
        return;
    }
    touch_other(address, BYTES, WRITE);
}

void touch_range(uintptr_t address, size_t bytes, bool write) {
    if (simt_current == nullptr || bytes == 0 || on_own_stack(address)) {
        return;
    }
    uintptr_t offset = address - uintptr_t(machine.shared);
    if (offset < SHARED_ARENA) {
        touch_shared(unsigned(offset), unsigned(bytes), write);
    } else if (address - region.base >= region.bytes) {
        touch_other(address, bytes, write);
    } else if (find_allocation(address, bytes) == nullptr) {
        fail_global(address, bytes, write);
    }
}

}  // namespace

void shared_added(unsigned offset, unsigned bytes, unsigned element) {
    unsigned shift = element % 4 == 0 ? 2 : element % 2 == 0 ? 1 : 0;
    std::memset(cell_shift + offset / 16, int(shift), (bytes + 15) / 16);
    std::memset(valid + offset / 16, 16, bytes / 16);
    if (bytes % 16 != 0) {
        valid[offset / 16 + bytes / 16] = bytes % 16;
    }
}

void shared_gone(unsigned bytes) {
    std::memset(valid, 0, bytes / 16);
}

void allow_reading_image_of(const void* symbol) {
    image_parts = 0;
    dl_iterate_phdr([](dl_phdr_info* info, size_t, void* wanted) {
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < info->dlpi_phnum; i++) {
                const auto& header = info->dlpi_phdr[i];
                uintptr_t start = info->dlpi_addr + header.p_vaddr, end = start + header.p_memsz;
                if (header.p_type != PT_LOAD) {
                    continue;
                }
                if (pass == 0 && uintptr_t(wanted) >= start && uintptr_t(wanted) < end) {
                    pass = 1;
                    i = -1;
                } else if (pass == 1 && image_parts < 16) {
                    image[image_parts++] = {start, end};
                }
            }
            if (pass == 0) {
                return 0;
            }
        }
        return 1;
    }, const_cast<void*>(symbol));
}

}  // namespace simt

using namespace simt;

#pragma GCC visibility push(default)
extern "C" {

#define ACCESS(bytes) \
    void __asan_load##bytes(uintptr_t address) { touch<bytes, false>(address); } \
    void __asan_store##bytes(uintptr_t address) { touch<bytes, true>(address); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
#undef ACCESS

void __asan_loadN(uintptr_t address, size_t bytes) { touch_range(address, bytes, false); }
void __asan_storeN(uintptr_t address, size_t bytes) { touch_range(address, bytes, true); }
void __asan_handle_no_return() {}

// The linker sends the kernels' calls of memcpy and the like here (--wrap).
void* __wrap_memcpy(void* to, const void* from, size_t bytes) {
    touch_range(uintptr_t(from), bytes, false);
    touch_range(uintptr_t(to), bytes, true);
    return std::memcpy(to, from, bytes);
}

void* __wrap_memmove(void* to, const void* from, size_t bytes) {
    touch_range(uintptr_t(from), bytes, false);
    touch_range(uintptr_t(to), bytes, true);
    return std::memmove(to, from, bytes);
}

void* __wrap_memset(void* to, int value, size_t bytes) {
    touch_range(uintptr_t(to), bytes, true);
    return std::memset(to, value, bytes);
}

// What g++ passes to the __ubsan functions.
struct Place {
    const char* file;
    uint32_t line, column;
};
struct Type {
    uint16_t kind, info;
    char name[1];
};
struct TypeMismatch {
    Place place;
    const Type* type;
    unsigned char log_alignment, kind;
};
struct OutOfBounds {
    Place place;
    const Type* array;
    const Type* index;
};

void __ubsan_handle_type_mismatch_v1_abort(TypeMismatch* data, void* pointer) {
    fail(CUDA_ERROR_MISALIGNED_ADDRESS, "uses %s at %p, which is not aligned to %u (%s:%u)", data->type->name, pointer,
            1u << data->log_alignment, data->place.file, data->place.line);
}

void __ubsan_handle_out_of_bounds_abort(OutOfBounds* data, uintptr_t index) {
    fail(CUDA_ERROR_ILLEGAL_ADDRESS, "index %zd is outside %s (%s:%u)", ssize_t(index), data->array->name, data->place.file,
            data->place.line);
}

}
#pragma GCC visibility pop
