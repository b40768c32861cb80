// The memory that PTX works on: which of it there is, who has written it, and who races for it.
//
// An element that is told apart is a word of four bytes, and once a part of a word was used by itself, each of its bytes.
#include "ptx.h"

#include "checks.h"
#include "driver.h"
#include "memory.h"
#include "ptx_memory.h"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <sys/mman.h>

namespace simt::ptx {

namespace {

struct Word {
    Cell cell;
    uint32_t split;  // the launch or block in which its bytes are told apart: the first epoch of that
};

void* reserve(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        std::fprintf(stderr, "simt: no address space for what is known of %zu bytes of memory; raise the limit of virtual memory\n", bytes);
        std::abort();
    }
    return memory;
}

// What is known of the elements of one memory.
class Elements {
public:
    void cover(size_t bytes) {
        words = static_cast<Word*>(reserve(bytes / 4 * sizeof(Word)));
        parts = static_cast<Cell*>(reserve(bytes * sizeof(Cell)));
    }

    // Calls f for each cell of the bytes; `since` is the first epoch of the launch or block.
    template <class F> void each(size_t offset, unsigned bytes, uint32_t since, F f) {
        size_t end = offset + bytes;
        while (offset < end) {
            Word& word = words[offset / 4];
            if (offset % 4 == 0 && offset + 4 <= end && word.split != since) {
                f(word.cell, offset);
                offset += 4;
                continue;
            }
            Cell* of_word = parts + offset / 4 * 4;
            if (word.split != since) {
                word.split = since;
                for (unsigned i = 0; i < 4; i++) {
                    of_word[i] = word.cell;
                }
            }
            for (size_t stop = std::min(end, offset / 4 * 4 + 4); offset < stop; offset++) {
                f(of_word[offset % 4], offset);
            }
        }
    }

private:
    Word* words;
    Cell* parts;
};

Elements of_global, of_shared;
unsigned char valid[SHARED_ARENA / 16];  // bytes of each 16 that belong to a variable
const std::vector<SharedVariable>* variables;
unsigned dynamic_start, dynamic_bytes;
uint32_t launch_epoch;

struct Copy {
    uint32_t to;
    char bytes[16];
};
std::deque<Copy> copies[MOST_THREADS];

bool keeping;
struct Before {
    uintptr_t address;
    unsigned bytes;
    char content[16];
    bool written;
};
std::vector<Before> journal;

const char* verb(bool write) { return write ? "writes" : "reads"; }

std::string thread_name(Stamp stamp) {
    unsigned thread = thread_of(stamp);
    uint3 block = machine.block;
    return "thread (" + std::to_string(thread % block.x) + "," + std::to_string(thread / block.x % block.y) + ","
            + std::to_string(thread / (block.x * block.y)) + ")";
}

std::string variable_name(uint64_t offset) {
    if (dynamic_bytes != 0 && offset >= dynamic_start) {
        return "dynamic shared memory (byte " + std::to_string(offset - dynamic_start) + ")";
    }
    const SharedVariable* below = nullptr;
    for (const SharedVariable& variable : *variables) {
        if (variable.offset <= offset && (below == nullptr || variable.offset > below->offset)) {
            below = &variable;
        }
    }
    return below == nullptr ? "shared memory" : below->name + " (byte " + std::to_string(offset - below->offset) + ")";
}

[[noreturn]] void fail_race(const std::string& what, bool write, Conflict conflict, const Fiber& now) {
    const char* other = conflict.wrote ? "wrote" : "read";
    if (epoch_of(conflict.with) < machine.block_epoch) {
        fail(CUDA_ERROR_LAUNCH_FAILED, "race on global memory: %s %s, which another block %s in the same launch", verb(write), what.c_str(), other);
    }
    fail(CUDA_ERROR_LAUNCH_FAILED, "race: %s %s, which %s %s and nothing orders the two; a %s is missing", verb(write), what.c_str(),
            thread_name(conflict.with).c_str(), other, thread_of(conflict.with) / 32 == now.thread / 32 ? "bar.warp.sync or bar.sync" : "bar.sync");
}

std::string byte_name(uintptr_t address) {
    const Allocation* allocation = find_allocation(address, 1);
    return allocation == nullptr ? "memory" : "byte " + std::to_string(address - allocation->start) + " of " + std::to_string(allocation->bytes)
                    + " bytes of device memory";
}

void check_alignment(uint64_t address, unsigned bytes, bool write, const char* where) {
    if (address % bytes != 0) {
        fail(CUDA_ERROR_MISALIGNED_ADDRESS, "%s %u bytes at 0x%llx of %s memory, which is not aligned to %u", verb(write), bytes,
                static_cast<unsigned long long>(address), where, bytes);
    }
}

uint32_t written_bits(uintptr_t offset, unsigned bytes) {
    uint32_t word;
    std::memcpy(&word, region.written + offset / 8, sizeof word);
    return word >> offset % 8 & ((1u << bytes) - 1);
}

void check_shared(uint64_t offset, unsigned bytes, bool write) {
    check_alignment(offset, bytes, write, "shared");
    if (offset >= SHARED_ARENA || offset % 16 + bytes > valid[offset / 16]) {
        fail(CUDA_ERROR_ILLEGAL_ADDRESS, "%s shared memory outside of every variable, after %s", verb(write), variable_name(offset).c_str());
    }
}

void write_shared(const Fiber& now, uint64_t offset, unsigned bytes, bool arrived) {
    Stamp stamp = stamp_of(now);
    of_shared.each(offset, bytes, machine.block_epoch, [&](Cell& cell, size_t at) {
        if (Conflict conflict = touch(cell, true, stamp, now, machine.block_epoch)) {
            fail_race(variable_name(at), true, conflict, now);
        }
        if (!arrived) {
            cell.write = 0;
        }
    });
}

}  // namespace

void begin_launch(const std::vector<SharedVariable>& shared, unsigned start, unsigned bytes) {
    static bool covered = false;
    if (!covered) {
        of_shared.cover(SHARED_ARENA);
        of_global.cover(region.bytes);
        covered = region.bytes != 0;
    }
    next_epoch();
    launch_epoch = machine.epoch;
    variables = &shared;
    dynamic_start = start;
    dynamic_bytes = bytes;
    std::memset(valid, 0, sizeof valid);
    auto add = [](unsigned offset, unsigned size) {
        std::memset(valid + offset / 16, 16, size / 16);
        if (size % 16 != 0) {
            valid[offset / 16 + size / 16] = size % 16;
        }
    };
    for (const SharedVariable& variable : shared) {
        add(variable.offset, variable.bytes);
    }
    add(start, bytes);
}

void begin_block(unsigned threads) {
    for (unsigned i = 0; i < threads; i++) {
        copies[i].clear();
    }
}

void keep_journal(bool keep) {
    keeping = keep;
    journal.clear();
}

void take_back() {
    for (auto before = journal.rbegin(); before != journal.rend(); ++before) {
        std::memcpy(reinterpret_cast<void*>(before->address), before->content, before->bytes);
        if (!before->written) {
            mark_written(before->address, before->bytes, false);
        }
    }
    journal.clear();
}

char* global_memory(Warp& warp, unsigned lane, uint64_t address, unsigned bytes, bool write) {
    simt_current = &warp.threads[lane];
    const Fiber& now = *simt_current;
    uintptr_t offset = address - region.base;
    check_alignment(address, bytes, write, "global");
    if (offset >= region.bytes || offset % 16 + bytes > region.shadow[offset / 16]) {
        if (!is_registered_host(address, bytes)) {
            fail(CUDA_ERROR_ILLEGAL_ADDRESS, "%s %u bytes at 0x%llx, which is %s", verb(write), bytes,
                    static_cast<unsigned long long>(address), describe_address(address).c_str());
        }
        return reinterpret_cast<char*>(address);
    }
    Stamp stamp = stamp_of(now);
    of_global.each(offset, bytes, launch_epoch, [&](Cell& cell, size_t at) {
        if (Conflict conflict = touch(cell, write, stamp, now, launch_epoch)) {
            fail_race(byte_name(region.base + at), write, conflict, now);
        }
    });
    bool all_written = written_bits(offset, bytes) == (1u << bytes) - 1;
    if (write && keeping) {
        journal.push_back({address, bytes, {}, all_written});
        std::memcpy(journal.back().content, reinterpret_cast<char*>(address), bytes);
    }
    if (write && !all_written) {
        mark_written(address, bytes, true);
    } else if (!write && !all_written) {
        fail(CUDA_ERROR_LAUNCH_FAILED, "reads %s, which nobody has written since it was allocated", byte_name(address).c_str());
    }
    return reinterpret_cast<char*>(address);
}

char* shared_memory(Warp& warp, unsigned lane, uint64_t offset, unsigned bytes, bool write) {
    simt_current = &warp.threads[lane];
    const Fiber& now = *simt_current;
    check_shared(offset, bytes, write);
    if (write) {
        write_shared(now, offset, bytes, true);
    } else {
        Stamp stamp = stamp_of(now);
        of_shared.each(offset, bytes, machine.block_epoch, [&](Cell& cell, size_t at) {
            if (epoch_of(cell.write) < machine.block_epoch) {
                fail(CUDA_ERROR_LAUNCH_FAILED, "reads %s in shared memory, which no thread of this block has written yet, or only by a copy that "
                        "its thread has not waited for: a barrier or a wait is missing", variable_name(at).c_str());
            }
            if (Conflict conflict = touch(cell, false, stamp, now, machine.block_epoch)) {
                fail_race(variable_name(at), false, conflict, now);
            }
        });
    }
    return machine.shared + offset;
}

char* local_memory(Warp& warp, unsigned lane, uint64_t offset, unsigned bytes, bool write) {
    simt_current = &warp.threads[lane];
    check_alignment(offset, bytes, write, "local");
    if (offset + bytes > warp.program->local_bytes) {
        fail(CUDA_ERROR_ILLEGAL_ADDRESS, "%s local memory outside of every variable, at byte %llu", verb(write),
                static_cast<unsigned long long>(offset));
    }
    size_t at = size_t(lane) * warp.program->local_bytes + offset;
    for (unsigned i = 0; i < bytes; i++) {
        if (!write && !warp.local_written[at + i]) {
            fail(CUDA_ERROR_LAUNCH_FAILED, "reads byte %llu of local memory, which it has not written", static_cast<unsigned long long>(offset + i));
        }
        warp.local_written[at + i] |= write;
    }
    return warp.local + at;
}

void start_copy(Warp& warp, unsigned lane, uint32_t to, uint64_t from, unsigned source_bytes) {
    Copy copy{to, {}};
    simt_current = &warp.threads[lane];
    if (source_bytes != 0 && source_bytes != 16) {
        fail(CUDA_ERROR_LAUNCH_FAILED, "copies %u of 16 bytes, which is not known here: all or none are", source_bytes);
    }
    if (source_bytes != 0) {
        std::memcpy(copy.bytes, global_memory(warp, lane, from, 16, false), 16);
    }
    check_shared(to, 16, true);
    write_shared(*simt_current, to, 16, false);
    copies[simt_current->thread].push_back(copy);
}

void finish_copies(Warp& warp, unsigned lane) {
    simt_current = &warp.threads[lane];
    auto& started = copies[simt_current->thread];
    for (; !started.empty(); started.pop_front()) {
        write_shared(*simt_current, started.front().to, 16, true);
        std::memcpy(machine.shared + started.front().to, started.front().bytes, 16);
    }
}

}  // namespace simt::ptx
