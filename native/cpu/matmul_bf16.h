// Matrix products of factors that are rounded to bfloat16, with sums in float32. An element of the result takes its steps of k
// in blocks of 32: of a block, the products at even places are added up in ascending order, those at odd places too, and both
// sums together are added to the element. Numbers below 2^-126 count as 0. That is what AMX's TDPBF16PS computes (Intel 64 and
// IA-32 Architectures Software Developer's Manual, volume 2), and here every instruction set computes the same bits.
#pragma once

#include "matmul.h"

namespace {

constexpr int SCRATCH = 1 << 16;  // floats of scratch memory, as NativeLinear's

/** While it lives, numbers below 2^-126 count as 0. */
class FlushToZero {
public:
    FlushToZero() : before(mode()) {
#if defined __x86_64__
        set_mode(before | 0x8040);  // FTZ and DAZ
#else
        set_mode(before | 1 << 24);  // FZ
#endif
    }

    ~FlushToZero() { set_mode(before); }

    FlushToZero(const FlushToZero&) = delete;

private:
#if defined __x86_64__
    using Mode = uint32_t;

    static Mode mode() { return _mm_getcsr(); }

    static void set_mode(Mode mode) { asm volatile("ldmxcsr %0" : : "m"(mode) : "memory"); }
#else
    using Mode = uint64_t;

    static Mode mode() {
        Mode mode;
        asm volatile("mrs %0, fpcr" : "=r"(mode));
        return mode;
    }

    static void set_mode(Mode mode) { asm volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#endif

    Mode before;
};

constexpr float SMALLEST = 0x1p-126f;

/** x rounded to bfloat16: to nearest, ties to even. */
inline Floats bf16(Floats x) {
    Ints bits = reinterpret_cast<Ints>(x);
    Ints rounded = (bits + 0x7fff + (bits >> 16 & 1)) & int32_t(0xffff0000);
    rounded = magnitude(x) < SMALLEST ? Ints{} : rounded;
    return x == x ? reinterpret_cast<Floats>(rounded) : x;
}

/** An element's sum, and those of the block at hand. */
struct Bf16Chain {
    Floats sum;
    Floats parts[2];  // of even and of odd places

    void add(Floats a, Floats b, int k) { parts[k % 2] = fma(a, b, parts[k % 2]); }

    void after(int taken, int k) {
        if (taken % BLOCK_STEPS == 0 || taken == k) {
            sum += parts[0] + parts[1];
            parts[0] = parts[1] = Floats{};
        }
    }

    static Floats factor(Floats b) { return bf16(b); }
};

/** y (m, stride) = a (m, k) rounded, with zeros behind; stride is a multiple of W. */
inline void round_rows(const Matrix& a, int m, int k, int stride, float* y) {
    for (int j = 0; j < stride; j += W) {
        int n = std::max(0, std::min(W, k - j));
        if (a.column == 1 || n == 0) {
            for (int i = 0; i < m; i++) {
                floats(y + int64_t(i) * stride + j) = bf16(load(a.from + i * a.row + j, n));
            }
            continue;
        }
        const float* rows = a.from + j * a.column;  // of the transposed matrix
        auto row = [&](int r) { return rows + std::min(r, n - 1) * a.column; };
        auto write = [&](int i, Floats x) { floats(y + int64_t(i) * stride + j) = first(n) ? bf16(x) : Floats{}; };
        int i = 0;
        for (; i + 4 <= m; i += 4) {
            Floats columns[4];
            transpose_four([&](int r) { return row(r) + i; }, columns);
            for (int c = 0; c < 4; c++) {
                write(i + c, columns[c]);
            }
        }
        for (; i < m; i++) {
            Floats x;
            for (int r = 0; r < W; r++) {
                x[r] = row(r)[i];
            }
            write(i, x);
        }
    }
}

/** @param scratch of SCRATCH floats */
inline void matmul_bf16(const Matmul& p, float* scratch) {
    FlushToZero flush;
    if (has_few_rows(p) && int64_t(p.m) * (p.k + W) <= SCRATCH) {
        Matmul rounded = p;
        rounded.a = {scratch, (p.k + W - 1) / W * W, 1};
        round_rows(p.a, p.m, p.k, int(rounded.a.row), scratch);
        few_rows<Bf16Chain>(rounded);
        return;
    }
    alignas(64) float panel[DEPTH * PANEL];
    for (int i = 0; i < p.m; i += HEIGHT) {
        int m = std::min(HEIGHT, p.m - i);
        for (int from = 0; from < p.k; from += DEPTH) {
            int k = std::min(DEPTH, p.k - from);
            int steps = (k + BLOCK_STEPS - 1) / BLOCK_STEPS * BLOCK_STEPS;  // those behind k add nothing
            Begin begin = from == 0 ? p.begin : Begin::RESULT;
            round_rows({p.a.from + i * p.a.row + from * p.a.column, p.a.row, p.a.column}, m, k, steps, scratch);
            for (int j = 0; j < p.n; j += PANEL) {
                int n = std::min(PANEL, p.n - j);
                int width = W * vectors_of(n);
                pack(p.b, from, k, j, n, vectors_of(n), panel);
                for (int at = 0; at < steps * width; at += W) {
                    floats(panel + at) = at < k * width ? bf16(floats(panel + at)) : Floats{};
                }
                const float* bias = p.begin == Begin::BIAS ? p.bias + j : nullptr;
                rows_with_panel<Steps::IN_BLOCKS>({scratch, steps, 1}, m, panel, n, steps, p.c + i * p.c_row + j, p.c_row, begin,
                                                  bias, p.relu && from + k == p.k);
            }
        }
    }
}

}  // namespace
