// Runs kernels from their PTX: blocks one after another, the warps of a block in turn from barrier to barrier.
#include "ptx.h"

#include "checks.h"
#include "driver.h"
#include "panel.h"
#include "ptx_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sys/stat.h>
#include <unistd.h>

namespace simt::ptx {

namespace {

const Entry* entry;
const Program* program;
Fiber threads[MOST_THREADS];
Warp warps[WARPS];
unsigned warp_count;
std::vector<char> register_rows, parameter_memory, local_memory_of_all;
std::vector<Lanes> written_rows;
std::vector<unsigned char> local_written;
std::vector<uint32_t> return_addresses;

uint32_t running;           // instruction, for messages
uint32_t left_out = NONE;   // the instruction that is passed over, to see whether that is noticed
std::vector<bool>* reached; // by instruction

const char* const WAITING = "; let every thread that it names, or the whole block, come to it";

[[noreturn]] void fail_at(Warp& warp, const Group& group, const char* message) {
    simt_current = &warp.threads[__builtin_ctz(group.lanes)];
    running = group.at;
    fail(CUDA_ERROR_LAUNCH_FAILED, "%s%s", message, WAITING);
}

// Nobody of the warp can go on.
[[noreturn]] void fail_stuck(Warp& warp) {
    const Group& group = warp.groups[0];
    if (warp.groups.size() > 1) {
        fail_at(warp, group, "waits for threads of its warp that wait elsewhere");
    }
    fail_at(warp, group, warp.ended != 0 ? "waits for threads of its warp that have ended" : "waits for threads that its block does not have");
}

// Adds lanes that go on at an instruction, where others may stand already.
void add_group(Warp& warp, uint32_t at, Lanes lanes, bool waits) {
    for (Group& group : warp.groups) {
        if (group.at == at) {
            group.lanes |= lanes;
            group.waits = false;
            return;
        }
    }
    warp.groups.push_back({at, lanes, waits});
}

// The first instruction behind `at` where other lanes stand.
uint32_t next_meeting(const Warp& warp, uint32_t at) {
    uint32_t next = NONE;
    for (const Group& group : warp.groups) {
        if (group.at >= at && group.at < next) {
            next = group.at;
        }
    }
    return next;
}

void check_reads(Warp& warp, const Instruction& i, Lanes lanes) {
    for (unsigned n = i.writes; n < unsigned(i.writes) + i.reads; n++) {
        Place place = i.operands[n];
        if (!(place & CONSTANT) && (warp.written[place] & lanes) != lanes) {
            simt_current = &warp.threads[__builtin_ctz(lanes & ~warp.written[place])];
            fail(CUDA_ERROR_LAUNCH_FAILED, "reads a register that it has not written, operand %u", n + 1);
        }
    }
}

void copy_parameters(Warp& warp, Lanes lanes, const std::vector<Parameter>& from, const std::vector<Parameter>& to) {
    for (; lanes != 0; lanes &= lanes - 1) {
        char* memory = warp.parameters + size_t(__builtin_ctz(lanes)) * program->parameter_bytes;
        for (size_t i = 0; i < from.size(); i++) {
            std::memcpy(memory + to[i].offset, memory + from[i].offset, from[i].bytes);
        }
    }
}

// Runs a warp until all its threads have ended or wait for the block.
void run_warp(Warp& warp) {
    const Instruction* code = program->code.data();
    while (!warp.groups.empty()) {
        // Those that stand furthest back go on, until they come to others.
        size_t first = warp.groups.size();
        for (size_t i = 0; i < warp.groups.size(); i++) {
            if (!warp.groups[i].waits && (first == warp.groups.size() || warp.groups[i].at < warp.groups[first].at)) {
                first = i;
            }
        }
        if (first == warp.groups.size()) {
            fail_stuck(warp);
        }
        auto [at, lanes, waits] = warp.groups[first];
        warp.groups.erase(warp.groups.begin() + std::ptrdiff_t(first));
        uint32_t meeting = next_meeting(warp, at);
        for (bool going = true; going;) {
            const Instruction& i = code[at];
            running = at;
            Lanes active = lanes;
            if (i.guard != NONE) {
                if ((warp.written[i.guard] & lanes) != lanes) {
                    simt_current = &warp.threads[__builtin_ctz(lanes & ~warp.written[i.guard])];
                    fail(CUDA_ERROR_LAUNCH_FAILED, "reads a predicate that it has not written");
                }
                Lanes is = warp.predicate(i.guard);
                active &= i.unless ? ~is : is;
            }
            if (reached != nullptr) {
                (*reached)[at] = true;
            }
            if (active == 0 || at == left_out) {
                at++;
            } else if (i.kind == Kind::PLAIN) {
                check_reads(warp, i, active);
                i.action(warp, i, active);
                for (unsigned n = 0; n < i.writes; n++) {
                    if (i.operands[n] != NONE) {
                        warp.written[i.operands[n]] |= active;
                    }
                }
                at++;
            } else if (i.kind == Kind::BRANCH) {
                if (active == lanes) {
                    at = i.target;
                    meeting = next_meeting(warp, at);
                } else {
                    add_group(warp, i.target, active, false);
                    add_group(warp, at + 1, lanes & ~active, false);
                    break;
                }
            } else if (active != lanes) {
                // some pass over what the others have to do together
                add_group(warp, at + 1, lanes & ~active, false);
                add_group(warp, at, active, false);
                break;
            } else {
                switch (i.kind) {
                    case Kind::TOGETHER: {
                        check_reads(warp, i, lanes);
                        const uint32_t* masks = warp.row<uint32_t>(i.operands[i.writes + i.reads - 1]);
                        Lanes mask = masks[__builtin_ctz(lanes)];
                        for (Lanes rest = lanes; rest != 0; rest &= rest - 1) {
                            unsigned lane = unsigned(__builtin_ctz(rest));
                            if (masks[lane] != mask || !(mask >> lane & 1)) {
                                simt_current = &warp.threads[lane];
                                fail(CUDA_ERROR_LAUNCH_FAILED, "names lanes 0x%08x, which are not those that came with it", masks[lane]);
                            }
                        }
                        if ((lanes & mask) != mask) {
                            add_group(warp, at, lanes, true);
                            going = false;
                            break;
                        }
                        i.action(warp, i, lanes);
                        at++;
                        break;
                    }
                    case Kind::WHOLE_WARP:
                        if (lanes != ALL) {
                            add_group(warp, at, lanes, true);
                            going = false;
                            break;
                        }
                        check_reads(warp, i, lanes);
                        i.action(warp, i, lanes);
                        at++;
                        break;
                    case Kind::BARRIER:
                        add_group(warp, at, lanes, true);
                        if (lanes == warp.exists) {
                            warp.at_barrier = true;
                            return;
                        }
                        going = false;
                        break;
                    case Kind::CALL: {
                        const Call& call = program->calls[i.target];
                        const Function& callee = program->functions[call.function];
                        copy_parameters(warp, lanes, call.arguments, callee.parameters);
                        for (Lanes rest = lanes; rest != 0; rest &= rest - 1) {
                            warp.returns[call.function * 32 + unsigned(__builtin_ctz(rest))] = at + 1;
                        }
                        at = callee.first;
                        meeting = next_meeting(warp, at);
                        break;
                    }
                    default: {  // RETURN
                        auto after = std::upper_bound(program->functions.begin(), program->functions.end(), at,
                                [](uint32_t instruction, const Function& f) { return instruction < f.first; });
                        unsigned number = unsigned(after - program->functions.begin()) - 1;
                        const Function& function = program->functions[number];
                        if (function.entry) {
                            warp.ended |= lanes;
                        }
                        for (Lanes rest = function.entry ? 0 : lanes; rest != 0;) {
                            uint32_t back = warp.returns[number * 32 + unsigned(__builtin_ctz(rest))];
                            Lanes there = 0;
                            for (Lanes others = rest; others != 0; others &= others - 1) {
                                unsigned lane = unsigned(__builtin_ctz(others));
                                there |= Lanes(warp.returns[number * 32 + lane] == back) << lane;
                            }
                            copy_parameters(warp, there, function.results, program->calls[code[back - 1].target].results);
                            add_group(warp, back, there, false);
                            rest &= ~there;
                        }
                        going = false;
                        break;
                    }
                }
                for (unsigned n = 0; n < i.writes && going; n++) {
                    if (i.operands[n] != NONE) {
                        warp.written[i.operands[n]] |= lanes;
                    }
                }
            }
            if (going && at >= meeting) {
                add_group(warp, at, lanes, false);
                break;
            }
        }
    }
}

template <class T> void set_row(Warp& warp, Place place, T value) { std::fill_n(warp.row<T>(place), 32, value); }

void prepare_warp(unsigned number, unsigned thread_count) {
    Warp& warp = warps[number];
    begin_warp(machine.warps[number], thread_count - number * 32);
    warp.program = program;
    warp.bases[0] = register_rows.data() + size_t(number) * program->rows * ROW;
    warp.bases[1] = reinterpret_cast<char*>(const_cast<uint64_t*>(program->constants.data()));
    warp.written = written_rows.data() + size_t(number) * program->rows;
    warp.common = &machine.warps[number];
    warp.threads = &threads[number * 32];
    warp.exists = warp.common->exists;
    warp.ended = 0;
    warp.groups = {{program->functions[entry->function].first, warp.exists, false}};
    warp.at_barrier = false;
    warp.parameters = parameter_memory.data() + size_t(number) * 32 * program->parameter_bytes;
    warp.local = local_memory_of_all.data() + size_t(number) * 32 * program->local_bytes;
    warp.local_written = local_written.data() + size_t(number) * 32 * program->local_bytes;
    warp.returns = return_addresses.data() + size_t(number) * 32 * program->functions.size();
    std::memset(warp.written, 0, program->rows * sizeof *warp.written);
    std::memset(warp.local_written, 0, 32 * program->local_bytes);
    std::fill_n(warp.written, SPECIALS, ALL);
    uint3 block = machine.block, grid = machine.grid, index = machine.index;
    for (unsigned lane = 0; lane < 32; lane++) {
        uint3 thread = warp.threads[lane].index;
        warp.row<uint32_t>(TID_X)[lane] = thread.x;
        warp.row<uint32_t>(TID_Y)[lane] = thread.y;
        warp.row<uint32_t>(TID_Z)[lane] = thread.z;
        warp.row<uint32_t>(LANEID)[lane] = lane;
    }
    const std::pair<Place, uint32_t> same[] = {{NTID_X, block.x}, {NTID_Y, block.y}, {NTID_Z, block.z}, {CTAID_X, index.x}, {CTAID_Y, index.y},
            {CTAID_Z, index.z}, {NCTAID_X, grid.x}, {NCTAID_Y, grid.y}, {NCTAID_Z, grid.z}, {WARPID, number},
            {DYNAMIC_SHARED, entry->dynamic_start}};
    for (auto [place, value] : same) {
        set_row(warp, place, value);
    }
    set_row(warp, DYNAMIC_SHARED_WIDE, uint64_t(entry->dynamic_start));
}

void run_block(uint3 index, unsigned thread_count) {
    machine.index = index;
    machine.block_serial++;
    next_epoch();
    machine.block_epoch = machine.epoch;
    begin_block(thread_count);
    for (unsigned i = 0; i < warp_count; i++) {
        prepare_warp(i, thread_count);
    }
    for (;;) {
        for (unsigned n = 0; n < warp_count; n++) {
            Warp& warp = warps[machine.descending ? warp_count - 1 - n : n];
            warp.at_barrier = false;
            if (!warp.groups.empty()) {
                warp.groups[0].at += warp.groups[0].waits ? 1 : 0;  // past the barrier
                warp.groups[0].waits = false;
                run_warp(warp);
            }
        }
        Warp* waiting = std::find_if(warps, warps + warp_count, [](const Warp& warp) { return warp.at_barrier; });
        if (waiting == warps + warp_count) {
            return;
        }
        for (unsigned n = 0; n < warp_count; n++) {
            if (!warps[n].at_barrier) {
                fail_at(*waiting, waiting->groups[0], "waits for the whole block, of which some threads have ended");
            }
            if (warps[n].groups[0].at != waiting->groups[0].at) {
                fail_at(*waiting, waiting->groups[0], "waits for the whole block, of which some threads wait at another barrier");
            }
        }
        next_epoch();
    }
}

int run_blocks(const Entry& launched, uint3 grid, uint3 block, unsigned shared, const unsigned char* parameters, bool backwards, bool quiet) {
    entry = &launched;
    program = launched.program.get();
    machine.grid = grid;
    machine.block = block;
    machine.dynamic_shared = shared;
    unsigned thread_count = block.x * block.y * block.z;
    warp_count = (thread_count + 31) / 32;
    for (unsigned i = 0; i < warp_count * 32; i++) {
        threads[i] = {nullptr, nullptr, nullptr, &machine.warps[i / 32], i, i % 32,
            {i % block.x, i / block.x % block.y, i / (block.x * block.y)}};
    }
    auto at_least = [](auto& memory, size_t size) {
        if (memory.size() < size) {
            memory.resize(size);
        }
    };
    at_least(register_rows, warp_count * program->rows * ROW);
    at_least(written_rows, warp_count * program->rows);
    at_least(parameter_memory, warp_count * 32 * program->parameter_bytes);
    at_least(local_memory_of_all, warp_count * 32 * program->local_bytes);
    at_least(local_written, warp_count * 32 * program->local_bytes);
    at_least(return_addresses, warp_count * 32 * program->functions.size());
    for (Warp& warp : warps) {
        warp.entry_parameters = parameters;
    }
    begin_launch(launched.shared, launched.dynamic_start, shared);
    uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
    try {
        for (uint64_t i = 0; i < blocks; i++) {
            uint64_t b = backwards ? blocks - 1 - i : i;
            run_block({unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / (uint64_t(grid.x) * grid.y))}, thread_count);
        }
    } catch (const Failure& failure) {
        if (!quiet) {
            uint3 b = machine.index, t = simt_current->index;
            uint32_t line = program->code[running].line;
            std::fprintf(stderr, "simt: kernel %s, block (%u,%u,%u), thread (%u,%u,%u), line %u of the PTX, \"%s\": %s\n",
                    launched.kernel.name, b.x, b.y, b.z, t.x, t.y, t.z, line, program->line(line).c_str(), failure.text.c_str());
        }
        simt_current = nullptr;
        return failure.error;
    }
    simt_current = nullptr;
    return 0;
}

// SIMT_LEAVE_OUT=FOLDER: each kernel runs again without each of the instructions that order its threads, until that has been noticed once. A file of
// the process says of each whether it was.
struct LeftOut {
    std::string kernel, line;
    bool noticed;
};
std::map<std::pair<std::string, uint32_t>, LeftOut> tried;

void write_tried(const char* folder) {
    std::string file = std::string(folder) + "/" + std::to_string(getpid()) + ".tsv";
    mkdir(folder, 0777);
    std::ofstream out(file + ".new");
    for (const auto& [key, of] : tried) {
        out << (of.noticed ? "noticed" : "missed") << '\t' << of.kernel << '\t' << key.second << '\t' << of.line << '\n';
    }
    out.close();
    if (!out || std::rename((file + ".new").c_str(), file.c_str()) != 0) {
        std::fprintf(stderr, "simt: cannot write %s; name a folder in SIMT_LEAVE_OUT that can be written to\n", file.c_str());
        std::abort();
    }
}

}  // namespace

int run(const Entry& launched, uint3 grid, uint3 block, unsigned shared, const unsigned char* parameters) {
    if (!reserve_shared()) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    // Every other launch takes the blocks from the last to the first, so that a block which needs another one shows.
    static bool backwards = false;
    backwards = !backwards;
    static const char* const folder = std::getenv("SIMT_LEAVE_OUT");
    if (folder == nullptr) {
        return run_blocks(launched, grid, block, shared, parameters, backwards, false);
    }
    std::vector<bool> executed(launched.program->code.size());
    reached = &executed;
    keep_journal(true);
    int error = run_blocks(launched, grid, block, shared, parameters, backwards, false);
    reached = nullptr;
    for (uint32_t instruction : launched.program->syncs) {
        if (error != 0 || !executed[instruction]) {
            continue;
        }
        uint32_t line = launched.program->code[instruction].line;
        auto [of, first] = tried.insert({{launched.kernel.name, line}, {launched.kernel.name, launched.program->line(line), false}});
        if (of->second.noticed) {
            continue;
        }
        take_back();
        left_out = instruction;
        of->second.noticed = run_blocks(launched, grid, block, shared, parameters, backwards, true) != 0;
        left_out = NONE;
        take_back();
        run_blocks(launched, grid, block, shared, parameters, backwards, false);
        write_tried(folder);
    }
    keep_journal(false);
    return error;
}

}  // namespace simt::ptx
