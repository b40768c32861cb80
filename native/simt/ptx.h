// PTX as it ships, executed: what a driver's own compiler would be given, instruction by instruction.
//
// A warp executes one instruction for all of its threads that stand at it, those that stand furthest back first, so that
// threads which parted meet again. Every thread has a program counter of its own; nothing is known of where paths join.
#pragma once

#include "machine.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace simt::ptx {

using Lanes = uint32_t;  // a bit for each thread of a warp
constexpr Lanes ALL = ~0u;

// Where an operand lies: a row of 32 values, one for each lane, in units of ROW bytes; a predicate is one word, a bit for each lane.
// Values of 8 and 16 bits take 32, those of 64 bits two rows.
using Place = uint32_t;
constexpr size_t ROW = 32 * 4;
constexpr Place CONSTANT = 1u << 31;  // among the constants of the program, and not among the registers of the warp
constexpr Place NONE = ~0u;

// The first rows of a warp's registers.
enum Special : Place {
    TID_X, TID_Y, TID_Z, NTID_X, NTID_Y, NTID_Z, CTAID_X, CTAID_Y, CTAID_Z, NCTAID_X, NCTAID_Y, NCTAID_Z, LANEID, WARPID,
    DYNAMIC_SHARED,       // where the shared memory begins whose size the launch gives
    DYNAMIC_SHARED_WIDE,  // the same in 64 bits
    SPECIALS = DYNAMIC_SHARED_WIDE + 2,
};

// Where generic addresses of a thread's own memory begin; those of shared memory begin at machine.shared.
constexpr uint64_t LOCAL_WINDOW = uint64_t(1) << 32;

struct Warp;
struct Instruction;
using Action = void (*)(Warp& warp, const Instruction& instruction, Lanes lanes);

enum class Kind : uint8_t {
    PLAIN,        // each thread by itself
    TOGETHER,     // the lanes that the last operand names
    WHOLE_WARP,   // all lanes
    BARRIER,      // all threads of the block
    BRANCH, CALL, RETURN,
};

enum class Space : uint8_t { GENERIC, GLOBAL, SHARED, LOCAL, PARAM, ENTRY_PARAM };

constexpr unsigned MOST_OPERANDS = 15;
constexpr unsigned MOST_MOVED = 4;  // elements of a load or store

struct Instruction {
    Action action;
    Kind kind;
    uint8_t writes, reads;  // operands: first those written, then those read
    bool unless;            // the guard is negated
    Space space;            // of a load or store; with how many elements, and whether the address has 64 bits:
    uint8_t count;
    bool wide_address;
    Place guard;            // the predicate of those who take part; NONE: everybody does
    Place operands[MOST_OPERANDS];
    uint32_t target;        // of a branch the instruction to go on at, of a call its number, of cp.async what is added to the second address
    int64_t number;         // what is added to an address, or where in the memory of parameters
    uint32_t line;          // of the text
};

struct SharedVariable {
    std::string name;
    unsigned offset, bytes;
};
// Variables of a kernel's own begin here, those that kernels of a module share at 0.
constexpr unsigned OWN_SHARED = 64 * 1024;

struct Parameter {
    unsigned offset, bytes;
};

struct Function {
    std::string name;
    bool entry = false;
    uint32_t first = 0;                  // instruction
    std::vector<Parameter> parameters, results;
    std::vector<SharedVariable> shared;  // of its own
    std::set<unsigned> used_shared;      // of those that belong to the module
    std::set<unsigned> calls;            // functions
    bool uses_dynamic_shared = false;
    unsigned most_threads = 0;           // 0 where it does not say
};

struct Call {
    unsigned function;
    std::vector<Parameter> arguments, results;  // the caller's
};

// A module.
struct Program {
    std::vector<Instruction> code;
    std::vector<uint64_t> constants;        // in rows
    std::vector<Function> functions;
    std::vector<Call> calls;
    std::vector<SharedVariable> shared;
    unsigned rows = SPECIALS;               // of registers
    unsigned parameter_bytes = 0, local_bytes = 0;  // of a thread: for the functions that it calls, and .local
    std::vector<uint32_t> syncs;            // the instructions that order threads or wait for copies

    // The line of the text, without blanks around it.
    std::string line(uint32_t number) const;
    std::string text;
};

// A kernel of a module, laid out.
struct Entry {
    std::shared_ptr<const Program> program;
    unsigned function;
    std::vector<unsigned> sizes;         // of parameters
    Kernel kernel;                       // what the driver knows of it; without code that could be called
    std::vector<SharedVariable> shared;  // all that it and what it calls use
    unsigned static_shared;              // their bytes as limits count them
    unsigned dynamic_start;
};

// Null and a message when the text is no PTX, or has a form that is not known here.
std::shared_ptr<const Program> parse(const std::string& text, std::string& message);
// The kernels of a module, in their order.
std::vector<std::shared_ptr<const Entry>> entries_of(const std::shared_ptr<const Program>& program);

// An instruction as the tables know it.
enum class Type : uint8_t { PREDICATE, WORD, DOUBLE_WORD };
struct Form {
    Action action;
    Kind kind;
    std::vector<Type> writes, reads;
};
// Null for a form that is not known. Moves, loads and stores, whose form depends on their operands too, are found by the next two.
const Form* find_form(const std::string& opcode);
// `wide`: the registers have 64 bits.
Action find_memory_action(bool store, Space space, const std::string& type, bool wide);
Action find_pack_action(unsigned parts, bool unpack, unsigned part_bits);

// A warp at work.
struct Group {
    uint32_t at;
    Lanes lanes;
    bool waits;  // for lanes that have not come there
};

struct Warp {
    const Program* program;
    char* bases[2];        // registers and constants
    Lanes* written;        // for each row of registers, the lanes that have a value
    simt::Warp* common;
    Fiber* threads;        // the 32 of them
    Lanes exists, ended;
    std::vector<Group> groups;
    bool at_barrier;
    const unsigned char* entry_parameters;
    char *parameters, *local;       // of each lane in turn
    unsigned char* local_written;   // for each of its bytes
    uint32_t* returns;              // of each function, for each lane

    template <class T> T* row(Place place) {
        return reinterpret_cast<T*>(bases[place >> 31] + size_t(place & ~CONSTANT) * ROW);
    }
    Lanes& predicate(Place place) { return *row<Lanes>(place); }
};

// Runs a kernel to its end; 0 or the CUresult of what went wrong, about which a line was written to stderr.
int run(const Entry& entry, uint3 grid, uint3 block, unsigned shared, const unsigned char* parameters);

// What is left of a copy that its thread has not waited for (cp.async).
void start_copy(Warp& warp, unsigned lane, uint32_t to, uint64_t from, unsigned source_bytes);
void finish_copies(Warp& warp, unsigned lane);

// The memory behind an address, after looking whether the thread may use it; written to by the caller.
char* global_memory(Warp& warp, unsigned lane, uint64_t address, unsigned bytes, bool write);
char* shared_memory(Warp& warp, unsigned lane, uint64_t offset, unsigned bytes, bool write);
char* local_memory(Warp& warp, unsigned lane, uint64_t offset, unsigned bytes, bool write);

}  // namespace simt::ptx
