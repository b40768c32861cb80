// Drives the execution of PTX: what instructions give, and texts with a defect each, which the driver must name.
#include "selftest.h"

namespace {

// A kernel of 64 threads with two pointers, %rd1 and %rd2, and the thread's own words behind them, %rd3 and %rd4; its number is %r1.
std::string kernel(const std::string& body, const std::string& declarations = "") {
    return R"(.version 8.0
.target sm_80
.address_size 64

)" + declarations + R"(
.visible .entry kernel(
    .param .u64 kernel_param_0,
    .param .u64 kernel_param_1
)
.maxntid 64, 1, 1
{
    .reg .pred %p<8>;
    .reg .b16 %rs<8>;
    .reg .b32 %r<32>;
    .reg .f32 %f<32>;
    .reg .b64 %rd<32>;
    .reg .f64 %fd<8>;
    .local .align 16 .b8 own[16];
    .shared .align 16 .b8 slots[1024];

    ld.param.u64 %rd1, [kernel_param_0];
    ld.param.u64 %rd2, [kernel_param_1];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd5, %r1, 4;
    add.s64 %rd3, %rd1, %rd5;
    add.s64 %rd4, %rd2, %rd5;
)" + body + R"(
    ret;
}
)";
}

constexpr unsigned THREADS = 64, BLOCKS = 2;

// The word that thread 0 stores as %r2.
std::string result_of(const std::string& body) {
    ptx = kernel(body + "\n    setp.ne.s32 %p7, %r1, 0;\n    @%p7 ret;\n    st.global.u32 [%rd1], %r2;");
    renew();
    CUdeviceptr out = upload(std::vector<unsigned>{0xcafe});
    CUresult error = launch("kernel", {1}, {32}, out, out);
    char text[32];
    std::snprintf(text, sizeof text, "0x%08x", download<unsigned>(out, 1)[0]);
    return error == 0 ? text : "error " + std::to_string(error);
}

void gives(const std::string& what, const std::string& wanted, const std::string& body) {
    std::string found;
    std::string errors = errors_of([&] { found = result_of(body); });
    check(what, found == wanted, found + " instead of " + wanted + ". " + errors);
}

// NVIDIA's "Parallel Thread Execution ISA", version 8.0, sections 9.7.1 to 9.7.9; immediate floats as it writes them, 0f and eight digits.
void instructions() {
    auto of_floats = [](const std::string& opcode, const std::string& operands) {
        return "    " + opcode + " %f1, " + operands + ";\n    mov.b32 %r2, %f1;";
    };
    gives("fma rounds once", "0x32800000", of_floats("fma.rn.f32", "0f3F800400, 0f3F800400, 0fBF800800"));
    gives("a product and a sum round twice", "0x00000000", R"(
    mul.rn.f32 %f2, 0f3F800400, 0f3F800400;
    sub.rn.f32 %f1, %f2, 0f3F800800;
    mov.b32 %r2, %f1;)");
    gives("fma.rm rounds down", "0x3f7fffff", of_floats("fma.rm.f32", "0f3F800000, 0f3F800000, 0fA0000000"));
    gives("fma.rn rounds to the nearest", "0x3f800000", of_floats("fma.rn.f32", "0f3F800000, 0f3F800000, 0fA0000000"));
    gives("arithmetic makes the NaN of a GPU", "0x7fffffff", of_floats("add.rn.f32", "0f7F800000, 0fFF800000"));
    gives("and turns another NaN into it", "0x7fffffff", of_floats("mul.rn.f32", "0f7FC12345, 0f3F800000"));
    gives("max passes over a NaN", "0xc0000000", of_floats("max.f32", "0f7FC00000, 0fC0000000"));
    gives("max of zeros is +0", "0x00000000", of_floats("max.f32", "0f80000000, 0f00000000"));
    gives("min of zeros is -0", "0x80000000", of_floats("min.f32", "0f00000000, 0f80000000"));
    gives("ex2.ftz takes a denormal as zero", "0x3f800000", of_floats("ex2.approx.ftz.f32", "0f807FFFFF"));
    gives("ex2.ftz flushes a denormal result", "0x00000000", of_floats("ex2.approx.ftz.f32", "0fC3020000"));
    gives("cvt.rni takes ties to even", "0x40000000", of_floats("cvt.rni.f32.f32", "0f40200000"));
    gives("cvt.rzi stops at the largest", "0x7fffffff", "    cvt.rzi.s32.f32 %r2, 0f4F800000;");
    gives("cvt of a NaN is zero", "0x00000000", "    cvt.rzi.s32.f32 %r2, 0f7FC00000;");
    gives("cvt to bf16 takes ties to even", "0x00003f80", "    cvt.rn.bf16.f32 %rs1, 0f3F808000;\n    cvt.u32.u16 %r2, %rs1;");
    gives("cvt to bf16 goes up behind a tie", "0x00003f81", "    cvt.rn.bf16.f32 %rs1, 0f3F808001;\n    cvt.u32.u16 %r2, %rs1;");
    gives("cvt to bf16 overflows to infinity", "0x00007f80", "    cvt.rn.bf16.f32 %rs1, 0f7F7FFFFF;\n    cvt.u32.u16 %r2, %rs1;");
    gives("the bf16 of a NaN", "0x00007fff", "    cvt.rn.bf16.f32 %rs1, 0fFFC12345;\n    cvt.u32.u16 %r2, %rs1;");
    gives("the first of two is the upper half", "0x40003f80", "    cvt.rn.bf16x2.f32 %r2, 0f40000000, 0f3F800000;");
    gives("shl by 32 is zero", "0x00000000", "    mov.u32 %r3, 32;\n    shl.b32 %r2, 1, %r3;");
    gives("shr of a negative number by 40", "0xffffffff", "    mov.u32 %r3, 40;\n    mov.u32 %r4, -5;\n    shr.s32 %r2, %r4, %r3;");
    gives("div goes to zero", "0xfffffffd", "    mov.u32 %r4, -7;\n    div.s32 %r2, %r4, 2;");
    gives("rem has the sign of the dividend", "0xffffffff", "    mov.u32 %r4, -7;\n    rem.s32 %r2, %r4, 2;");
    gives("mul.hi of 32 bits", "0xfffffffe", "    mov.u32 %r4, -1;\n    mul.hi.u32 %r2, %r4, %r4;");
    gives("prmt copies signs", "0x00ff7fff", "    mov.u32 %r4, 0x807f12ff;\n    mov.u32 %r5, 0;\n    prmt.b32 %r2, %r4, %r5, 0x4B20;");
    gives("bfi puts a field in", "0x12345af8", "    mov.u32 %r4, 0xaf;\n    mov.u32 %r5, 0x12345678;\n    bfi.b32 %r2, %r4, %r5, 4, 8;");
    gives("setp.neu is true of a NaN", "0x00000001", "    setp.neu.f32 %p1, 0f7FC00000, 0f7FC00000;\n    selp.b32 %r2, 1, 0, %p1;");
    gives("setp.ne is not", "0x00000000", "    setp.ne.f32 %p1, 0f7FC00000, 0f7FC00000;\n    selp.b32 %r2, 1, 0, %p1;");
    gives("addresses of 32 bits wrap", "0x0000002a", R"(
    setp.ne.s32 %p1, %r1, 0;
    @%p1 ret;
    mov.u32 %r3, slots;
    mov.u32 %r4, 42;
    st.shared.u32 [%r3+4], %r4;
    add.s32 %r5, %r3, -4;
    ld.shared.u32 %r2, [%r5+8];)");
    gives("a shuffle down stays where its segment ends", "0x00000007", R"(
    mov.u32 %r3, -1;
    shfl.sync.down.b32 %r4|%p1, %r1, 3, 6175, %r3;
    shfl.sync.idx.b32 %r2|%p2, %r4, 7, 31, %r3;)");
    gives("lanes that part and meet again", "0x00000065", R"(
    setp.lt.s32 %p1, %r1, 16;
    @%p1 bra LOW;
    mov.u32 %r3, 100;
    bra.uni BOTH;
LOW:
    mov.u32 %r3, 1;
BOTH:
    mov.u32 %r4, -1;
    shfl.sync.bfly.b32 %r5|%p2, %r3, 16, 31, %r4;
    add.s32 %r2, %r3, %r5;)");
}

// A launch that must break the context with this error and these words.
void broken(const std::string& what, CUresult error, const std::string& words, const std::string& body, const std::string& declarations = "",
        unsigned threads = THREADS) {
    CUresult found = 0;
    std::string text = errors_of([&] {
        ptx = kernel(body, declarations);
        renew();
        CUdeviceptr written = upload(std::vector<unsigned>(256, 1)), unwritten = memory_of(1024);
        found = launch("kernel", {BLOCKS}, {threads}, written, unwritten);
    });
    bool named = text.find("simt: kernel kernel, block (") == 0 && text.find("of the PTX, \"") != std::string::npos
            && text.find(words) != std::string::npos && text.find('\n') == text.size() - 1;
    check(what, found == error && named, std::to_string(found) + ", " + text);
}

void runs(const std::string& what, const std::string& body) {
    CUresult found = 0;
    std::string text = errors_of([&] {
        ptx = kernel(body);
        renew();
        CUdeviceptr written = upload(std::vector<unsigned>(256, 1));
        found = launch("kernel", {1}, {THREADS}, written, memory_of(1024));
    });
    check(what, found == 0, std::to_string(found) + ", " + text);
}

const char* const STORE_OWN = R"(
    mov.u32 %r10, slots;
    shl.b32 %r11, %r1, 2;
    add.s32 %r12, %r10, %r11;
    xor.b32 %r13, %r11, 4;
    add.s32 %r14, %r10, %r13;
    st.shared.u32 [%r12], %r1;)";
const char* const LOAD_OTHER = R"(
    ld.shared.u32 %r15, [%r14];)";

void registers() {
    broken("a register that was not written", 719, "reads a register that it has not written, operand 2", "    add.s32 %r2, %r3, 1;");
    broken("a register that some have not written", 719, "thread (32,0,0)", R"(
    setp.ge.s32 %p1, %r1, 32;
    @%p1 bra OVER;
    mov.u32 %r2, 1;
OVER:
    add.s32 %r3, %r2, 1;)");
    broken("a predicate that was not written", 719, "reads a predicate that it has not written", "    @%p3 bra OVER;\nOVER:");
    broken("a stored register that was not written", 719, "reads a register that it has not written", "    st.global.u32 [%rd3], %r9;");
}

void memory() {
    broken("device memory that was not written", 719, "which nobody has written since it was allocated", "    ld.global.u32 %r2, [%rd4];");
    broken("device memory behind an allocation", 700, "bytes past the end of an allocation of 1024 bytes", "    ld.global.u32 %r2, [%rd3+1024];");
    broken("a vector that is not aligned", 716, "reads 16 bytes", "    ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd3];");
    broken("a word of shared memory that is not aligned", 716, "of shared memory, which is not aligned to 4", R"(
    mov.u32 %r2, slots;
    st.shared.u32 [%r2+2], %r1;)");
    broken("shared memory behind every variable", 700, "outside of every variable, after slots (byte 1024)", R"(
    mov.u32 %r2, slots;
    st.shared.u32 [%r2+1024], %r1;)");
    broken("shared memory that was not written", 719, "reads slots (byte 8)", R"(
    mov.u32 %r2, slots;
    ld.shared.u32 %r3, [%r2+8];)");
    broken("local memory that was not written", 719, "reads byte 4 of local memory", R"(
    mov.u64 %rd6, own;
    st.local.u32 [%rd6], %r1;
    ld.local.v2.u32 {%r2, %r3}, [%rd6];)");
    broken("local memory behind every variable", 700, "local memory outside of every variable", R"(
    mov.u64 %rd6, own;
    st.local.u32 [%rd6+16], %r1;)");
}

void races() {
    runs("shared memory that a barrier orders", std::string(STORE_OWN) + "\n    bar.sync 0;" + LOAD_OTHER);
    runs("shared memory that a barrier of the warp orders", std::string(STORE_OWN) + "\n    bar.warp.sync -1;" + LOAD_OTHER);
    broken("a barrier that is missing", 719, "a bar.warp.sync or bar.sync is missing", std::string(STORE_OWN) + LOAD_OTHER);
    broken("a race on global memory within a block", 719, "race: writes byte 0 of 1024 bytes of device memory, which thread (",
            "    st.global.u32 [%rd1], %r1;");
    broken("a race on global memory between blocks", 719, "race on global memory: writes byte 0 of 1024 bytes of device memory, which another block wrote",
            "    setp.ne.s32 %p1, %r1, 0;\n    @%p1 ret;\n    st.global.u32 [%rd1], %r1;");
    broken("a block that reads what another writes", 719, "which another block", R"(
    mov.u32 %r2, %ctaid.x;
    setp.ne.s32 %p1, %r2, 0;
    @%p1 bra READ;
    st.global.u32 [%rd3], %r1;
    ret;
READ:
    ld.global.u32 %r3, [%rd3];)");
}

void barriers() {
    broken("a bar.sync that part of a warp comes to", 719, "waits for threads of its warp that have ended", R"(
    setp.eq.s32 %p1, %r1, 40;
    @%p1 ret;
    bar.sync 0;)");
    broken("a bar.sync that a warp does not come to", 719, "waits for the whole block, of which some threads have ended", R"(
    setp.ge.s32 %p1, %r1, 32;
    @%p1 ret;
    bar.sync 0;)");
    broken("two places to wait for the block", 719, "of which some threads wait at another barrier", R"(
    setp.ge.s32 %p1, %r1, 32;
    @%p1 bra OTHER;
    bar.sync 0;
    ret;
OTHER:
    bar.sync 0;)");
    broken("two places to wait for the block within a warp", 719, "waits for threads of its warp that wait elsewhere", R"(
    setp.eq.s32 %p1, %r1, 7;
    @%p1 bra OTHER;
    bar.sync 0;
    ret;
OTHER:
    bar.sync 0;)");
    broken("a shuffle of a lane that has ended", 719, "waits for threads of its warp that have ended", R"(
    mov.u32 %r2, -1;
    setp.eq.s32 %p1, %r1, 31;
    @%p1 ret;
    shfl.sync.bfly.b32 %r3|%p2, %r1, 1, 31, %r2;)");
    broken("a shuffle of lanes that the block does not have", 719, "waits for threads that its block does not have", R"(
    mov.u32 %r2, -1;
    shfl.sync.bfly.b32 %r3|%p2, %r1, 1, 31, %r2;)", "", 48);
    broken("masks that differ", 719, "which are not those that came with it", R"(
    shfl.sync.bfly.b32 %r3|%p2, %r1, 1, 31, %r1;)");
    broken("a lane that the mask does not name", 719, "reads lane 20 in a shuffle that this lane takes no part in", R"(
    mov.u32 %r2, 0x0000ffff;
    setp.ge.s32 %p1, %r1, 16;
    @%p1 ret;
    shfl.sync.idx.b32 %r3|%p2, %r1, 20, 31, %r2;)");
}

const char* const COPY_OWN = R"(
    mov.u32 %r10, slots;
    shl.b32 %r11, %r1, 4;
    add.s32 %r12, %r10, %r11;
    xor.b32 %r13, %r12, 16;
    and.b32 %r14, %r1, 15;
    mul.wide.u32 %rd10, %r14, 16;
    add.s64 %rd11, %rd1, %rd10;
    mov.u32 %r16, 16;
    cp.async.cg.shared.global [%r12], [%rd11], 16, %r16;)";

void copies() {
    const std::string copy = COPY_OWN;
    runs("a copy that is waited for", copy + "\n    cp.async.wait_all;\n    ld.shared.u32 %r15, [%r12];");
    runs("a copy that all have waited for", copy + "\n    cp.async.wait_all;\n    bar.sync 0;\n    ld.shared.u32 %r15, [%r13];");
    broken("a copy that is not waited for", 719, "its thread has not waited for", copy + "\n    ld.shared.u32 %r15, [%r12];");
    broken("a copy that another thread has waited for", 719, "nothing orders the two", copy + "\n    cp.async.wait_all;\n    ld.shared.u32 %r15, [%r13];");
    broken("a copy that is not aligned", 716, "which is not aligned to 16", R"(
    mov.u32 %r10, slots;
    mov.u32 %r16, 16;
    cp.async.cg.shared.global [%r10], [%rd1+8], 16, %r16;)");
}

void refused(const std::string& what, const std::string& words, const std::string& body, const std::string& declarations = "") {
    CUresult error = 0;
    void* refused_module;
    renew();
    std::string text = errors_of([&] { error = cuModuleLoadData(&refused_module, kernel(body, declarations).c_str()); });
    check(what, error == 218 && text.find("of the PTX: ") != std::string::npos && text.find(words) != std::string::npos,
            std::to_string(error) + ", " + text);
}

void unknown_forms() {
    ptx = kernel("");
    refused("an instruction that is not known", "the instruction atom.global.add.u32 is not known here", "    atom.global.add.u32 %r2, [%rd1], 1;");
    refused("a form of a known instruction", "the instruction fma.rz.f32 is not known here", "    fma.rz.f32 %f1, %f2, %f3, %f4;");
    refused("a form of a load", "the instruction ld.global.v8.u32 is not known here", "    ld.global.v8.u32 {%r2, %r3}, [%rd1];");
    refused("a barrier of some threads", "bar.sync is known here for the whole block only", "    bar.sync 1, 32;");
    refused("a register that is not declared", "\"%q1\" is not known here", "    mov.u32 %r2, %q1;");
    refused("a register of another width", "has another width", "    add.s32 %r2, %rd1, 1;");
    refused("a label that is not there", "there is no label NOWHERE", "    bra NOWHERE;");
    refused("operands that are missing", "operands", "    add.s32 %r2, %r1;");
    refused("a function that is not there", "there is no function nothing", "    call.uni nothing, ();");
    refused("a directive that is not known", "is not known here", "", ".tex .u64 picture;\n");
}

void functions() {
    const std::string twice = R"(
.func (.param .b32 result) twice(
    .param .b32 twice_param_0
)
{
    .reg .b32 %r<4>;
    ld.param.u32 %r1, [twice_param_0];
    shl.b32 %r2, %r1, 1;
    st.param.b32 [result+0], %r2;
    ret;
}
)";
    CUresult error = 0;
    std::string errors = errors_of([&] {
        ptx = kernel(R"(
    setp.eq.s32 %p1, %r1, 5;
    mov.u32 %r3, 7;
    @%p1 bra OVER;
    {
    .param .b32 param0;
    st.param.b32 [param0+0], %r1;
    .param .b32 retval0;
    call.uni (retval0), twice, (param0);
    ld.param.b32 %r3, [retval0+0];
    }
OVER:
    st.global.u32 [%rd4], %r3;)", twice);
        renew();
        CUdeviceptr out = memory_of(256);
        error = launch("kernel", {1}, {THREADS}, out, out);
        std::vector<unsigned> wanted(THREADS);
        for (unsigned i = 0; i < THREADS; i++) {
            wanted[i] = i == 5 ? 7 : 2 * i;
        }
        check("a function that some lanes call", error == 0 && download<unsigned>(out, THREADS) == wanted, std::to_string(error));
    });
    check("without a word", errors.empty(), errors);
}

}  // namespace

int main() {
    return run_checks(kernel(""), [] {
        instructions();
        functions();
        registers();
        memory();
        races();
        barriers();
        copies();
        unknown_forms();
    });
}
