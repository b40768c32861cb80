// Matrix products of factors that are rounded to bfloat16, with sums in float32. An element of the result takes its steps of k
// in blocks of 32: of a block, the products at even places are added up in ascending order, those at odd places too, and both
// sums together are added to the element. Numbers below 2^-126 count as 0. That is what AMX's TDPBF16PS computes (Intel 64 and
// IA-32 Architectures Software Developer's Manual, volume 2), and here every instruction set computes the same bits.
#pragma once

#include "matmul.h"

namespace {

constexpr int BLOCK_STEPS = 32;   // steps of k in a block
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

/** Adds a block's steps to R rows and `vectors` vectors of c, of which n columns are there. @param a rounded, as round_rows gives it */
inline void add_block(int rows, const float* a, int stride, const float* b, int vectors, float* c, int64_t c_row, int n) {
    int width = W * vectors;
    float sums[2][ROWS * PANEL];  // of even and of odd places
    Tile some = tile_of<Steps::ALL>(rows, vectors);
    for (int odd = 0; odd < 2; odd++) {
        some(a + odd, stride, 2, b + odd * width, 2 * width, BLOCK_STEPS / 2, sums[odd], width, Begin::ZERO, nullptr, false);
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            int count = std::min(W, n - W * v);
            int at = r * width + W * v;
            float* to = c + r * c_row + W * v;
            store(to, load(to, count) + (floats(sums[0] + at) + floats(sums[1] + at)), count);
        }
    }
}

/** Fills c with what the sums begin with. */
inline void begin_sums(const Matmul& p) {
    for (int i = 0; i < p.m && p.begin != Begin::RESULT; i++) {
        for (int j = 0; j < p.n; j += W) {
            int n = std::min(W, p.n - j);
            store(p.c + i * p.c_row + j, p.begin == Begin::BIAS ? load(p.bias + j, n) : Floats{}, n);
        }
    }
}

inline void end_sums(const Matmul& p) {
    for (int i = 0; i < p.m && p.relu; i++) {
        for (int j = 0; j < p.n; j += W) {
            int n = std::min(W, p.n - j);
            store(p.c + i * p.c_row + j, relu(load(p.c + i * p.c_row + j, n)), n);
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
    begin_sums(p);
    alignas(64) float panel[DEPTH * PANEL];
    for (int i = 0; i < p.m; i += HEIGHT) {
        int m = std::min(HEIGHT, p.m - i);
        for (int from = 0; from < p.k; from += DEPTH) {
            int k = std::min(DEPTH, p.k - from);
            int stride = (k + BLOCK_STEPS - 1) / BLOCK_STEPS * BLOCK_STEPS;
            round_rows({p.a.from + i * p.a.row + from * p.a.column, p.a.row, p.a.column}, m, k, stride, scratch);
            for (int j = 0; j < p.n; j += PANEL) {
                int n = std::min(PANEL, p.n - j);
                int vectors = vectors_of(n);
                int width = W * vectors;
                pack(p.b, from, k, j, n, vectors, panel);
                for (int at = 0; at < stride * width; at += W) {
                    floats(panel + at) = at < k * width ? bf16(floats(panel + at)) : Floats{};
                }
                for (int r = 0; r < m; r += ROWS) {
                    for (int at = 0; at < stride; at += BLOCK_STEPS) {
                        add_block(std::min(ROWS, m - r), scratch + r * stride + at, stride, panel + at * width, vectors,
                                  p.c + (i + r) * p.c_row + j, p.c_row, n);
                    }
                }
            }
        }
    }
    end_sums(p);
}

}  // namespace
