// Fibers, warps, barriers and shared memory of the running block.
#include "machine.h"

#include "driver.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <sys/mman.h>
#include <vector>

#ifndef __x86_64__
#error "The fibers of the SIMT driver are written for x86-64; add the switch for this processor here."
#endif

// simt_meet keeps the registers that a call must preserve, asks arrive() which thread goes on, and goes on there; simt_switch does
// the same with a stack that is given. Both end in what the thread that goes on had called, so both return the result that the
// current fiber points to. They jump instead of returning: the threads of a warp go on at different places in turn, which the
// processor predicts from its history of jumps, but never from the calls of another thread.
asm(R"(
    .macro SIMT_KEEP
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm

    .macro SIMT_GO_ON
    movq simt_current(%rip), %rax
    movq (%rax), %rax
    movq (%rax), %rax
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmp *%rcx
    .endm

    .text
    .p2align 4
    .globl simt_meet
    .type simt_meet, @function
simt_meet:
    SIMT_KEEP
    movq %rsp, %r8
    subq $8, %rsp
    call simt_arrive
    movq %rax, %rsp
    SIMT_GO_ON
    .size simt_meet, .-simt_meet

    .p2align 4
    .hidden simt_switch
    .globl simt_switch
    .type simt_switch, @function
simt_switch:
    SIMT_KEEP
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    SIMT_GO_ON
    .size simt_switch, .-simt_switch
)");
extern "C" void simt_switch(void** save, void* load);
extern "C" __attribute__((visibility("hidden"))) void* simt_arrive(uint32_t mask, uint64_t value, uint32_t source, simt::Wait at, void* sp);
simt::Fiber* simt_current;

namespace simt {

Machine machine;

void next_epoch() {
    if (++machine.epoch == 0) {
        std::fprintf(stderr, "simt: more barriers than the checks of shared memory can count; start the program anew\n");
        std::abort();
    }
    machine.descending = ((machine.epoch ^ machine.block_serial) & 1) != 0;
}

void count_syncwarp(Warp& warp, uint32_t mask) {
    warp.syncs++;
    if (mask == warp.exists) {
        warp.full_sync = warp.syncs;
    } else {
        warp.pairs_used = true;
        for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
            for (uint32_t others = mask; others != 0; others &= others - 1) {
                warp.pair_sync[__builtin_ctz(rest)][__builtin_ctz(others)] = warp.syncs;
            }
        }
    }
}

void begin_warp(Warp& warp, unsigned lanes) {
    warp.exists = warp.ready = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    warp.waiting = warp.ended = warp.barrier = 0;
    warp.syncs = warp.full_sync = 0;
    if (warp.pairs_used) {
        std::memset(warp.pair_sync, 0, sizeof warp.pair_sync);
        warp.pairs_used = false;
    }
}

bool reserve_shared() {
    if (machine.shared == nullptr) {
        void* memory = mmap(nullptr, SHARED_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        machine.shared = memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
    }
    return machine.shared != nullptr;
}

namespace {

const Kernel* kernel;
void* const* params;
void* main_sp;
int error;

unsigned threads, warp_count;
unsigned alive, arrived;  // threads that have not ended; those of them at __syncthreads
uint32_t ready_warps;
unsigned running_warp;

Fiber* fiber_of[MOST_THREADS];
std::vector<Fiber*> fibers, idle;
std::vector<SharedArray> arrays;

// Copies into shared memory that their thread has not waited for.
struct Copy {
    void* to;
    char bytes[16];
};
std::deque<Copy> copies[MOST_THREADS];

void fiber_main();

// A fiber that begins with fiber_main when it is switched to.
void rewind(Fiber& fiber, size_t number) {
    // Stacks lie at multiples of a large power of two: tops at different offsets keep them from sharing cache sets.
    char* top = fiber.stack + STACK - number * 320 % 4096;
    auto slots = reinterpret_cast<void**>(top) - 8;
    for (int i = 0; i < 8; i++) {
        slots[i] = nullptr;
    }
    slots[6] = reinterpret_cast<void*>(&fiber_main);
    fiber.sp = slots;
}

Fiber* take_fiber() {
    if (idle.empty()) {
        // One page below the stack stays unusable, so a kernel that needs more ends the process and not its neighbour's data.
        constexpr size_t GUARD = 4096;
        void* memory = mmap(nullptr, STACK + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED || mprotect(static_cast<char*>(memory) + GUARD, STACK, PROT_READ | PROT_WRITE) != 0) {
            std::fprintf(stderr, "simt: no memory for the stack of another thread; raise the limit of virtual memory\n");
            std::abort();
        }
        auto fiber = new Fiber();
        fiber->stack = static_cast<char*>(memory) + GUARD;
        rewind(*fiber, fibers.size());
        fibers.push_back(fiber);
        return fiber;
    }
    Fiber* fiber = idle.back();
    idle.pop_back();
    return fiber;
}

void assign(Fiber* fiber, unsigned thread) {
    fiber->thread = thread;
    fiber->lane = thread % 32;
    fiber->warp = &machine.warps[thread / 32];
    fiber->result = &fiber->warp->result[fiber->lane];
    uint3 block = machine.block;
    if (block.x == threads) {
        fiber->index = {thread, 0, 0};
    } else {
        fiber->index = {thread % block.x, thread / block.x % block.y, thread / (block.x * block.y)};
    }
    fiber_of[thread] = fiber;
}

int pick_bit(uint32_t set) {
    return machine.descending ? 31 - __builtin_clz(set) : __builtin_ctz(set);
}

// The next thread that may run, first of the warp that runs now; -1 when there is none.
int pick() {
    if (machine.warps[running_warp].ready == 0) {
        ready_warps &= ~(1u << running_warp);
        if (ready_warps == 0) {
            return -1;
        }
        running_warp = pick_bit(ready_warps);
    }
    Warp& warp = machine.warps[running_warp];
    int lane = pick_bit(warp.ready);
    warp.ready &= ~(1u << lane);
    return int(running_warp) * 32 + lane;
}

const char* wait_name(Wait at) {
    switch (at) {
        case Wait::SHUFFLE: return "a shuffle";
        case Wait::BALLOT: return "a vote";
        case Wait::SYNCWARP: return "__syncwarp";
        case Wait::MMA:
        case Wait::MMA_BF16: return "an mma";
        case Wait::LDMATRIX: return "an ldmatrix";
        default: return "__syncthreads";
    }
}

std::string thread_name(unsigned thread) {
    uint3 block = machine.block;
    return "(" + std::to_string(thread % block.x) + "," + std::to_string(thread / block.x % block.y) + ","
            + std::to_string(thread / (block.x * block.y)) + ")";
}

// No thread may run though some have not ended: says who waits for whom.
[[noreturn]] void fail_stuck() {
    // A lane that waits for lanes of its warp says more than those at the barrier.
    for (unsigned thread = 0; thread < threads; thread++) {
        Warp& warp = machine.warps[thread / 32];
        unsigned lane = thread % 32;
        if (!(warp.waiting >> lane & 1)) {
            continue;
        }
        uint32_t mask = warp.mask[lane];
        for (unsigned other = 0; other < 32; other++) {
            if (!(mask >> other & 1)
                    || ((warp.waiting >> other & 1) && warp.at[other] == warp.at[lane] && warp.mask[other] == mask)) {
                continue;
            }
            simt_current = fiber_of[thread];
            unsigned awaited = thread / 32 * 32 + other;
            if (!(warp.exists >> other & 1)) {
                fail(CUDA_ERROR_LAUNCH_FAILED, "waits at %s with mask 0x%08x for lane %u, which the block does not have; "
                        "make blocks of whole warps or name only lanes that exist", wait_name(warp.at[lane]), mask, other);
            }
            if (warp.ended >> other & 1) {
                fail(CUDA_ERROR_LAUNCH_FAILED, "waits at %s with mask 0x%08x for thread %s, which has ended; let every thread "
                        "of the mask get there", wait_name(warp.at[lane]), mask, thread_name(awaited).c_str());
            }
            if (warp.barrier >> other & 1) {
                fail(CUDA_ERROR_LAUNCH_FAILED, "waits at %s with mask 0x%08x for thread %s, which waits at __syncthreads; let "
                        "every thread take the same barriers", wait_name(warp.at[lane]), mask, thread_name(awaited).c_str());
            }
            fail(CUDA_ERROR_LAUNCH_FAILED, "waits at %s with mask 0x%08x for thread %s, which waits at %s with mask 0x%08x; "
                    "let every thread of a mask take the same operations", wait_name(warp.at[lane]), mask,
                    thread_name(awaited).c_str(), wait_name(warp.at[other]), warp.mask[other]);
        }
    }
    fail(CUDA_ERROR_LAUNCH_FAILED, "no thread of the block can go on");
}

// The thread that goes on while the running one waits.
Fiber* next_fiber() {
    int thread = pick();
    if (thread < 0) {
        fail_stuck();
    }
    Fiber* fiber = fiber_of[thread];
    if (fiber == nullptr) {
        fiber = take_fiber();
        assign(fiber, thread);
    }
    return fiber;
}

// All threads that have not ended are at __syncthreads: they go on.
void release_barrier() {
    arrived = 0;
    next_epoch();
    for (unsigned i = 0; i < warp_count; i++) {
        Warp& warp = machine.warps[i];
        warp.ready |= warp.barrier;
        warp.barrier = 0;
        if (warp.ready != 0) {
            ready_warps |= 1u << i;
        }
    }
    running_warp = machine.descending ? warp_count - 1 : 0;
}

// A thread that never waits runs to its end here, and the next one begins on the same fiber.
void fiber_main() {
    for (;;) {
        kernel->invoke(params);
        Fiber* self = simt_current;
        self->warp->ended |= 1u << self->lane;
        alive--;
        if (arrived != 0 && arrived == alive) {
            release_barrier();
        }
        int thread = pick();
        if (thread < 0 && alive != 0) {
            fail_stuck();
        }
        if (thread >= 0 && fiber_of[thread] == nullptr) {
            assign(self, thread);
            continue;
        }
        idle.push_back(self);
        if (thread < 0) {
            simt_switch(&self->sp, main_sp);
        } else {
            simt_current = fiber_of[thread];
            simt_switch(&self->sp, simt_current->sp);
        }
    }
}

void begin_block(uint3 index) {
    machine.index = index;
    machine.block_serial++;
    next_epoch();
    machine.block_epoch = machine.epoch;
    shared_gone(machine.shared_top);
    machine.shared_top = 0;
    machine.shared_bytes = machine.dynamic_shared;
    arrays.clear();
    for (unsigned i = 0; i < threads; i++) {
        copies[i].clear();
    }
    alive = threads;
    arrived = 0;
    ready_warps = warp_count == 32 ? ~0u : (1u << warp_count) - 1;
    running_warp = machine.descending ? warp_count - 1 : 0;
    for (unsigned i = 0; i < warp_count; i++) {
        begin_warp(machine.warps[i], threads - i * 32);
    }
    std::memset(fiber_of, 0, threads * sizeof *fiber_of);
}

// What the tensor cores do with the fragments of a warp (PTX ISA, mma.m16n8k32 for 8-bit types and mma.m16n8k16 for bfloat16):
// K elements of a row of a, or a column of b, are 16 words, of which a lane has two.
template <class A, class B, class Sum, unsigned K> void multiply_fragments(const Warp& warp) {
    A a[16][K];
    B b[8][K];
    Sum sums[16][8];
    constexpr unsigned HALF = K / 2, WORD = K / 8;
    auto of = [&](unsigned lane) { return reinterpret_cast<Fragments<Sum>*>(warp.value[lane]); };
    for (unsigned lane = 0; lane < 32; lane++) {
        unsigned g = lane / 4, t = lane % 4;
        for (unsigned i = 0; i < 4; i++) {
            std::memcpy(&a[g + i % 2 * 8][t * WORD + i / 2 * HALF], &of(lane)->a[i], 4);
            sums[g + i / 2 * 8][t * 2 + i % 2] = of(lane)->sums[i];
        }
        std::memcpy(&b[g][t * WORD], &of(lane)->b[0], 4);
        std::memcpy(&b[g][t * WORD + HALF], &of(lane)->b[1], 4);
    }
    // Widened, and b by rows, so that the compiler makes vectors of the columns.
    Sum rows_of_b[K][8];
    for (unsigned k = 0; k < K; k++) {
        for (unsigned column = 0; column < 8; column++) {
            rows_of_b[k][column] = Sum(b[column][k]);
        }
    }
    for (unsigned row = 0; row < 16; row++) {
        for (unsigned k = 0; k < K; k++) {
            Sum x = Sum(a[row][k]);
            for (unsigned column = 0; column < 8; column++) {
                sums[row][column] += x * rows_of_b[k][column];
            }
        }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        for (unsigned i = 0; i < 4; i++) {
            of(lane)->sums[i] = sums[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
        }
    }
}

// PTX ISA, ldmatrix.x4: lane l has brought row l % 8 of matrix l / 8.
void share_matrices(const Warp& warp) {
    auto of = [&](unsigned lane) { return reinterpret_cast<MatrixRow*>(warp.value[lane]); };
    auto element = [&](unsigned matrix, unsigned row, unsigned column) {
        return of(matrix * 8 + row)->elements[column / 2] >> column % 2 * 16 & 0xffffu;
    };
    for (unsigned lane = 0; lane < 32; lane++) {
        unsigned g = lane / 4, t = lane % 4;
        for (unsigned matrix = 0; matrix < 4; matrix++) {
            of(lane)->got[matrix] = of(lane)->transposed ? element(matrix, 2 * t, g) | element(matrix, 2 * t + 1, g) << 16
                                                         : element(matrix, g, 2 * t) | element(matrix, g, 2 * t + 1) << 16;
        }
    }
}

// All lanes of the mask have come to the operation: works out what each of them gets, and lets them go on.
__attribute__((noinline)) void complete(Warp& warp, Wait at, uint32_t mask) {
    if (at == Wait::SHUFFLE && mask == ~0u) {
        for (unsigned lane = 0; lane < 32; lane++) {
            warp.result[lane] = warp.value[warp.source[lane]];
        }
    } else if (at == Wait::SHUFFLE) {
        for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
            unsigned lane = __builtin_ctz(rest);
            warp.result[lane] = warp.value[warp.source[lane]];
        }
    } else if (at == Wait::BALLOT) {
        uint64_t votes = 0;
        for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
            votes |= warp.value[__builtin_ctz(rest)] << __builtin_ctz(rest);
        }
        for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
            warp.result[__builtin_ctz(rest)] = votes;
        }
    } else if (at == Wait::MMA) {
        multiply_fragments<uint8_t, int8_t, int, 32>(warp);
    } else if (at == Wait::MMA_BF16) {
        multiply_fragments<__nv_bfloat16, __nv_bfloat16, float, 16>(warp);
    } else if (at == Wait::LDMATRIX) {
        share_matrices(warp);
    } else {
        count_syncwarp(warp, mask);
    }
    warp.waiting &= ~mask;
    warp.ready |= mask;
    ready_warps |= 1u << running_warp;
}

// Whether every lane of the mask waits at this very operation.
__attribute__((noinline)) bool all_meet(const Warp& warp, Wait at, uint32_t mask) {
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        unsigned lane = __builtin_ctz(rest);
        if (warp.at[lane] != at || warp.mask[lane] != mask) {
            return false;
        }
    }
    return true;
}

[[noreturn]] __attribute__((noinline)) void fail_mask(Wait at, uint32_t mask, uint32_t lane, uint32_t source) {
    if (!(mask >> lane & 1)) {
        fail(CUDA_ERROR_LAUNCH_FAILED, "calls %s with mask 0x%08x, which does not name its own lane %u", wait_name(at), mask, lane);
    }
    fail(CUDA_ERROR_LAUNCH_FAILED, "reads lane %u in a shuffle whose mask 0x%08x does not name that lane", source, mask);
}

}  // namespace

int run(const Kernel& k, uint3 grid, uint3 block, unsigned shared, void* const* p) {
    if (!reserve_shared()) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    kernel = &k;
    params = p;
    error = 0;
    machine.grid = grid;
    machine.block = block;
    machine.dynamic_shared = shared;
    threads = block.x * block.y * block.z;
    warp_count = (threads + 31) / 32;

    // Every other launch takes the blocks from the last to the first, so that a block which needs another one shows.
    static bool backwards = false;
    backwards = !backwards;
    uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
    for (uint64_t i = 0; i < blocks && error == 0; i++) {
        uint64_t b = backwards ? blocks - 1 - i : i;
        begin_block({unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / (uint64_t(grid.x) * grid.y))});
        Fiber* first = take_fiber();
        assign(first, pick());
        simt_current = first;
        simt_switch(&main_sp, first->sp);
    }
    simt_current = nullptr;
    if (error != 0) {
        // The threads of the block stopped where they were.
        idle.clear();
        for (size_t i = 0; i < fibers.size(); i++) {
            rewind(*fibers[i], i);
            idle.push_back(fibers[i]);
        }
    }
    return error;
}

void fail(int code, const char* format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (simt_current->stack == nullptr) {
        throw Failure{code, text};
    }
    uint3 b = machine.index, t = simt_current->index;
    std::fprintf(stderr, "simt: kernel %s, block (%u,%u,%u), thread (%u,%u,%u): %s\n", kernel->name, b.x, b.y, b.z, t.x, t.y, t.z,
            text);
    error = code;
    void* unused;
    simt_switch(&unused, main_sp);
    __builtin_unreachable();
}

const SharedArray* shared_array_below(unsigned offset) {
    const SharedArray* found = nullptr;
    for (const SharedArray& array : arrays) {
        if (array.offset <= offset) {
            found = &array;
        }
    }
    return found;
}

}  // namespace simt

using namespace simt;

// Gives an array of the running block its place.
static void place_shared(Site* site, const char* name, unsigned bytes, unsigned element) {
    site->block = machine.block_serial;
    site->offset = machine.shared_top;
    arrays.push_back({name, site->offset, bytes});
    shared_added(site->offset, bytes, element);
    machine.shared_top += (bytes + 15) / 16 * 16 + 16;
}

void* simt_dynamic_shared(Site* site, const char* name, unsigned element) {
    if (site->block != machine.block_serial) {
        place_shared(site, name, machine.dynamic_shared, element);
    }
    return machine.shared + site->offset;
}

void* simt_shared(Site* site, const char* name, unsigned bytes, unsigned element) {
    if (site->block != machine.block_serial) {
        unsigned rounded = (bytes + 15) / 16 * 16;
        unsigned limit = machine.dynamic_shared > SHARED_LIMIT ? SHARED_OPT_IN : SHARED_LIMIT;
        if (machine.shared_bytes + rounded > limit || machine.shared_top + rounded + 16 > SHARED_ARENA) {
            fail(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "needs more than %u bytes of shared memory: %u bytes for %s after %u for others",
                    limit, bytes, name, machine.shared_bytes);
        }
        machine.shared_bytes += rounded;
        place_shared(site, name, bytes, element);
    }
    return machine.shared + site->offset;
}

// The running thread has come to an operation: says on which stack to go on, its own where it need not wait.
void* simt_arrive(uint32_t mask, uint64_t value, uint32_t source, Wait at, void* sp) {
    Fiber* self = simt_current;
    Warp& warp = *self->warp;
    unsigned lane = self->lane;
    self->sp = sp;
    if (at == Wait::SYNCTHREADS) {
        warp.barrier |= 1u << lane;
        if (++arrived == alive) {
            release_barrier();
        }
        simt_current = next_fiber();
        return simt_current->sp;
    }
    if (!(mask >> lane & mask >> source & 1)) {
        fail_mask(at, mask, lane, source);
    }
    if (warp.waiting == 0) {
        warp.mixed = false;
        warp.first_at = at;
        warp.first_mask = mask;
    } else if (warp.first_at != at || warp.first_mask != mask) {
        warp.mixed = true;
    }
    warp.at[lane] = at;
    warp.mask[lane] = mask;
    warp.value[lane] = value;
    warp.source[lane] = source;
    warp.waiting |= 1u << lane;
    if ((warp.waiting & mask) == mask && (!warp.mixed || all_meet(warp, at, mask))) {
        complete(warp, at, mask);
        warp.ready &= ~(1u << lane);
        return sp;
    }
    // In the usual case another lane of the warp goes on.
    Fiber* next = nullptr;
    if (warp.ready != 0) {
        unsigned other = pick_bit(warp.ready);
        next = fiber_of[self->thread - lane + other];
        if (next != nullptr) {
            warp.ready &= ~(1u << other);
        }
    }
    if (next == nullptr) {
        next = next_fiber();
    }
    simt_current = next;
    return next->sp;
}

void simt_copy_started(void* to, const void* bytes16) {
    Copy copy = {to, {}};
    std::memcpy(copy.bytes, bytes16, sizeof copy.bytes);
    copies[simt_current->thread].push_back(copy);
}

void* simt_copy_done(void* bytes16) {
    auto& started = copies[simt_current->thread];
    if (started.empty()) {
        return nullptr;
    }
    Copy copy = started.front();
    started.pop_front();
    std::memcpy(bytes16, copy.bytes, sizeof copy.bytes);
    return copy.to;
}

unsigned simt_lane() { return simt_current->lane; }
unsigned simt_thread_x() { return simt_current->index.x; }
unsigned simt_thread_y() { return simt_current->index.y; }
unsigned simt_thread_z() { return simt_current->index.z; }
unsigned simt_block_x() { return machine.index.x; }
unsigned simt_block_y() { return machine.index.y; }
unsigned simt_block_z() { return machine.index.z; }
unsigned simt_block_dim_x() { return machine.block.x; }
unsigned simt_block_dim_y() { return machine.block.y; }
unsigned simt_block_dim_z() { return machine.block.z; }
unsigned simt_grid_dim_x() { return machine.grid.x; }
unsigned simt_grid_dim_y() { return machine.grid.y; }
unsigned simt_grid_dim_z() { return machine.grid.z; }
