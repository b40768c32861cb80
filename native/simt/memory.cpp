// Allocations of device memory and their shadow.
#include "memory.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace simt {

Region region;

namespace {

constexpr size_t ALIGNMENT = 256;
// Between allocations, so that what runs past an end does not land in the next one.
constexpr size_t GAP = 256;
// Memory freed is not handed out again before this much has been freed, so that late uses of it are noticed.
constexpr size_t QUARANTINE = size_t(256) << 20;
constexpr size_t PAGE = 4096;
// Larger allocations are mapped, not filled: most of the memory is cuBLAS's workspaces, of which kernels touch hardly anything.
constexpr size_t LARGE = size_t(1) << 20;
constexpr size_t BLANK_FILE = size_t(2) << 20;

std::map<uintptr_t, Allocation> allocations;  // live ones and freed ones whose place is still unused
std::map<uintptr_t, size_t> host_ranges;
uintptr_t cursor;
size_t freed_since_wrap, device_count, device_bytes;

void* reserve(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

bool reserve_region() {
    for (size_t bytes = size_t(64) << 30; bytes >= size_t(1) << 30; bytes /= 2) {
        void* memory = reserve(bytes);
        // Eight bytes more, as bits are read in words.
        void* known = memory == nullptr ? nullptr : reserve(bytes / 16 + bytes / 8 + 8);
        if (known != nullptr) {
            auto shadow = static_cast<unsigned char*>(known);
            region = {uintptr_t(memory), bytes, shadow, shadow + bytes / 16};
            cursor = region.base + GAP;
            return true;
        }
        if (memory != nullptr) {
            munmap(memory, bytes);
        }
    }
    return false;
}

// Calls pages(address, bytes) for the whole pages of a large range and fill(address, bytes) for its ends, or fill for all of a small range.
template <class Fill, class Pages> void by_pages(uintptr_t start, size_t bytes, Fill fill, Pages pages) {
    if (bytes < LARGE) {
        fill(start, bytes);
        return;
    }
    uintptr_t first = (start + PAGE - 1) / PAGE * PAGE, last = (start + bytes) / PAGE * PAGE;
    fill(start, first - start);
    pages(first, last - first);
    fill(last, start + bytes - last);
}

// Zeroes reserved memory.
void clear(unsigned char* start, size_t bytes) {
    auto fill = [](uintptr_t at, size_t count) { std::memset(reinterpret_cast<void*>(at), 0, count); };
    by_pages(uintptr_t(start), bytes, fill, [&](uintptr_t at, size_t count) {
        if (madvise(reinterpret_cast<void*>(at), count, MADV_DONTNEED) != 0) {
            fill(at, count);
        }
    });
}

// A file in memory that holds BLANK_FILE bytes of 0xff; -1 if there is none.
int open_blank_file() {
    int file = memfd_create("simt-blank", MFD_CLOEXEC);
    if (file >= 0) {
        std::string blank(BLANK_FILE, '\xff');
        if (write(file, blank.data(), blank.size()) != ssize_t(blank.size())) {
            close(file);
            file = -1;
        }
    }
    return file;
}

// Puts 0xff into every byte. Whole pages of a large range are private mappings of the file: the kernel copies them when they are written.
void make_blank(uintptr_t start, size_t bytes) {
    static const int file = open_blank_file();
    auto fill = [](uintptr_t at, size_t count) { std::memset(reinterpret_cast<void*>(at), 0xff, count); };
    by_pages(start, bytes, fill, [&](uintptr_t at, size_t count) {
        for (uintptr_t end = at + count; at < end; at += BLANK_FILE) {
            size_t piece = std::min(BLANK_FILE, end - at);
            if (mmap(reinterpret_cast<void*>(at), piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0)
                    == MAP_FAILED) {
                fill(at, piece);
            }
        }
    });
}

void set_shadow(uintptr_t start, size_t bytes, bool valid) {
    unsigned char* shadow = region.shadow + (start - region.base) / 16;
    if (valid) {
        std::memset(shadow, 16, bytes / 16);
    } else {
        clear(shadow, bytes / 16);
    }
    if (bytes % 16 != 0) {
        shadow[bytes / 16] = valid ? bytes % 16 : 0;
    }
}

// A place of that many bytes at or behind the cursor; 0 when the rest of the region has none.
uintptr_t find_place(size_t bytes) {
    auto next = allocations.lower_bound(cursor);
    if (next != allocations.begin()) {
        const Allocation& before = std::prev(next)->second;
        if (!before.freed && before.start + before.bytes + GAP > cursor) {
            cursor = (before.start + before.bytes + GAP + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    }
    for (; next != allocations.end(); ++next) {
        const Allocation& other = next->second;
        if (other.freed) {
            continue;
        }
        if (cursor + bytes + GAP <= other.start) {
            return cursor;
        }
        cursor = (other.start + other.bytes + GAP + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return cursor + bytes + GAP <= region.base + region.bytes ? cursor : 0;
}

void forget_freed(uintptr_t start, size_t bytes) {
    auto i = allocations.lower_bound(start);
    if (i != allocations.begin() && std::prev(i)->second.start + std::prev(i)->second.bytes > start) {
        --i;
    }
    while (i != allocations.end() && i->first < start + bytes) {
        i = allocations.erase(i);
    }
}

}  // namespace

void mark_written(uintptr_t start, size_t bytes, bool written) {
    uintptr_t offset = start - region.base;
    if (offset >= region.bytes) {
        return;
    }
    uintptr_t end = offset + bytes;
    auto set_bit = [&] {
        auto bit = static_cast<unsigned char>(1u << offset % 8);
        unsigned char& bits = region.written[offset / 8];
        bits = written ? bits | bit : bits & ~bit;
        offset++;
    };
    while (offset < end && offset % 8 != 0) {
        set_bit();
    }
    if (written) {
        std::memset(region.written + offset / 8, 0xff, (end - offset) / 8);
    } else {
        clear(region.written + offset / 8, (end - offset) / 8);
    }
    offset += (end - offset) / 8 * 8;
    while (offset < end) {
        set_bit();
    }
}

void* allocate(size_t bytes, Kind kind, const void* owner) {
    if (region.base == 0 && !reserve_region()) {
        return nullptr;
    }
    if (bytes > region.bytes) {
        return nullptr;
    }
    if (freed_since_wrap > QUARANTINE) {
        cursor = region.base + GAP;
        freed_since_wrap = 0;
    }
    uintptr_t start = find_place(bytes);
    if (start == 0) {
        cursor = region.base + GAP;
        start = find_place(bytes);
        if (start == 0) {
            return nullptr;
        }
    }
    forget_freed(start, bytes);
    cursor = (start + bytes + GAP + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    allocations[start] = {start, bytes, kind, owner, false};
    set_shadow(start, bytes, true);
    mark_written(start, bytes, kind == Kind::HOST);
    make_blank(start, bytes);
    if (kind == Kind::DEVICE) {
        device_count++;
        device_bytes += bytes;
    }
    return reinterpret_cast<void*>(start);
}

bool release(uintptr_t start, Kind kind) {
    auto i = allocations.find(start);
    if (i == allocations.end() || i->second.freed || i->second.kind != kind) {
        return false;
    }
    Allocation& allocation = i->second;
    allocation.freed = true;
    set_shadow(start, allocation.bytes, false);
    uintptr_t first_page = (start + PAGE - 1) / PAGE * PAGE, last_page = (start + allocation.bytes) / PAGE * PAGE;
    if (last_page > first_page) {
        madvise(reinterpret_cast<void*>(first_page), last_page - first_page, MADV_DONTNEED);
    }
    freed_since_wrap += allocation.bytes + GAP;
    if (kind == Kind::DEVICE) {
        device_count--;
        device_bytes -= allocation.bytes;
    }
    return true;
}

void release_all(const void* owner) {
    for (auto& [start, allocation] : allocations) {
        if (allocation.owner == owner && !allocation.freed) {
            release(start, allocation.kind);
        }
    }
}

const Allocation* find_allocation(uintptr_t start, size_t bytes) {
    auto i = allocations.upper_bound(start);
    if (i == allocations.begin()) {
        return nullptr;
    }
    const Allocation& allocation = std::prev(i)->second;
    size_t offset = start - allocation.start;
    bool inside = !allocation.freed && offset <= allocation.bytes && bytes <= allocation.bytes - offset;
    return inside ? &allocation : nullptr;
}

size_t live_allocations() { return device_count; }
size_t live_bytes() { return device_bytes; }

bool register_host(uintptr_t start, size_t bytes) {
    return host_ranges.emplace(start, bytes).second;
}

bool unregister_host(uintptr_t start) {
    return host_ranges.erase(start) != 0;
}

bool is_registered_host(uintptr_t start, size_t bytes) {
    auto i = host_ranges.upper_bound(start);
    if (i == host_ranges.begin()) {
        return false;
    }
    --i;
    return start - i->first + bytes <= i->second;
}

std::string describe_address(uintptr_t address) {
    if (address < 65536) {
        return "a null pointer plus " + std::to_string(address) + " bytes";
    }
    if (address - region.base >= region.bytes) {
        return "no device memory";
    }
    auto next = allocations.upper_bound(address);
    if (next != allocations.begin()) {
        const Allocation& before = std::prev(next)->second;
        size_t offset = address - before.start;
        if (before.freed && offset < before.bytes) {
            return "byte " + std::to_string(offset) + " of an allocation of " + std::to_string(before.bytes) + " bytes that was freed";
        }
        bool after_is_nearer = next != allocations.end() && next->first - address < offset - before.bytes;
        if (!after_is_nearer) {
            return std::to_string(offset - before.bytes) + " bytes past the end of an allocation of "
                    + std::to_string(before.bytes) + " bytes" + (before.freed ? " that was freed" : "");
        }
    }
    if (next == allocations.end()) {
        return "device memory that was never allocated";
    }
    return std::to_string(next->first - address) + " bytes before an allocation of " + std::to_string(next->second.bytes)
            + " bytes" + (next->second.freed ? " that was freed" : "");
}

}  // namespace simt
