// Matrix products. Each element of the result is one chain of fused multiply-adds over k, in ascending order: so no block,
// vector or thread changes a bit of it.
#pragma once

#include "vector.h"

#include <algorithm>
#include <utility>

namespace {

/** A matrix (rows, columns) in memory: element (i, j) at from[i * row + j * column], where one of both steps is 1. */
struct Matrix {
    const float* from;
    int64_t row;
    int64_t column;
};

/** What the chains begin with. */
enum class Begin { ZERO, BIAS, RESULT };

/** c (m, n) = a (m, k) b (k, n), begun with c itself, or with a bias (n), or with 0; then ReLU, if asked. */
struct Matmul {
    int m;
    int n;
    int k;
    Matrix a;
    Matrix b;
    float* c;
    int64_t c_row;
    Begin begin;
    const float* bias;
    bool relu;
};

// A tile of c in registers: ROWS x VECTORS sums, beside VECTORS of b and one of a.
#if defined __AVX512F__
constexpr int ROWS = 12;
constexpr int VECTORS = 2;
#elif defined __AVX2__
constexpr int ROWS = 6;
constexpr int VECTORS = 2;
#else
constexpr int ROWS = 8;
constexpr int VECTORS = 3;
#endif
constexpr int PANEL = W * VECTORS;  // columns of b that are packed for a tile
constexpr int DEPTH = 256;          // k of a packed panel, which stays in the first cache
constexpr int HEIGHT = 240;         // rows of a that stay in the second cache while panels pass by; a multiple of all ROWS

inline Floats relu(Floats x) {
    return x <= 0 ? Floats{} : x;  // NaN stays
}

/** Which of its steps a tile takes. */
enum class Steps {
    ALL,
    /** R more than k, and of those row i takes the first i + 1 only: weights of a query's own and earlier keys. */
    TRIANGLE_LAST,
    /** R before the others, and of those row i takes them from its own on only: what queries owe to a key. */
    TRIANGLE_FIRST,
    /** All, in blocks, as matmul_bf16.h says: k is a multiple of their size. */
    IN_BLOCKS
};

constexpr int BLOCK_STEPS = 32;

template <int R, int V>
inline void tile_in_blocks(const float* a, int64_t row, const float* b, int64_t b_row, int k, float* c, int64_t c_row,
                           Begin begin, const float* bias, bool with_relu);

/**
 * A tile of R rows and V vectors of columns. @param a its first row, whose elements are `step` apart, rows `row` apart
 * @param b rows of V vectors, `b_row` apart
 */
template <int R, int V, Steps STEPS>
inline void tile(const float* a, int64_t row, int64_t step, const float* b, int64_t b_row, int k, float* c, int64_t c_row,
                 Begin begin, const float* bias, bool with_relu) {
    if constexpr (STEPS == Steps::IN_BLOCKS) {
        tile_in_blocks<R, V>(a, row, b, b_row, k, c, c_row, begin, bias, with_relu);
        return;
    }
    Floats sums[R][V];
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            sums[i][v] = begin == Begin::ZERO   ? Floats{}
                         : begin == Begin::BIAS ? floats(bias + W * v)
                                                : floats(c + i * c_row + W * v);
        }
    }
    const float* rows[(R + 2) / 3];  // three rows each: an address takes a multiple of 1 or 2
#pragma GCC unroll 4
    for (int r = 0; r < (R + 2) / 3; r++) {
        rows[r] = a + 3 * r * row;
    }
    // the next step, for rows from..to - 1
    auto take = [&](int from, int to) __attribute__((always_inline)) {
        Floats bs[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            bs[v] = floats(b + W * v);
        }
        b += b_row;
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
            if (i < from || i >= to) {
                continue;
            }
            Floats x = all(rows[i / 3][i % 3 * row]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                sums[i][v] = fma(x, bs[v], sums[i][v]);
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < (R + 2) / 3; r++) {
            rows[r] += step;
        }
    };
    if (STEPS == Steps::TRIANGLE_FIRST) {
#pragma GCC unroll 16
        for (int j = 0; j < R; j++) {
            take(0, j + 1);
        }
    }
#pragma GCC unroll 2
    for (int j = 0; j < k; j++) {
        take(0, R);
    }
    if (STEPS == Steps::TRIANGLE_LAST) {
#pragma GCC unroll 16
        for (int j = 0; j < R; j++) {
            take(j, R);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            floats(c + i * c_row + W * v) = with_relu ? relu(sums[i][v]) : sums[i][v];
        }
    }
}

/** A tile that takes its steps in blocks. @param a its first row, whose elements are side by side */
template <int R, int V>
inline void tile_in_blocks(const float* a, int64_t row, const float* b, int64_t b_row, int k, float* c, int64_t c_row,
                           Begin begin, const float* bias, bool with_relu) {
    float parts[2][R * V * W];  // of even and of odd places
    for (int from = 0; from < k; from += BLOCK_STEPS, begin = Begin::RESULT) {
        for (int odd = 0; odd < 2; odd++) {
            tile<R, V, Steps::ALL>(a + from + odd, row, 2, b + (from + odd) * b_row, 2 * b_row, BLOCK_STEPS / 2, parts[odd],
                                   V * W, Begin::ZERO, nullptr, false);
        }
        bool last = from + BLOCK_STEPS == k;
        for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                Floats sum = floats(parts[0] + (i * V + v) * W) + floats(parts[1] + (i * V + v) * W);
                sum += begin == Begin::ZERO   ? Floats{}
                       : begin == Begin::BIAS ? floats(bias + W * v)
                                              : floats(c + i * c_row + W * v);
                floats(c + i * c_row + W * v) = last && with_relu ? relu(sum) : sum;
            }
        }
    }
}

using Tile = void (*)(const float*, int64_t, int64_t, const float*, int64_t, int, float*, int64_t, Begin, const float*,
                      bool);

template <int V, Steps STEPS, int... I>
inline Tile tile_of(int rows, std::integer_sequence<int, I...>) {
    static constexpr Tile tiles[] = {tile<I + 1, V, STEPS>...};
    return tiles[rows - 1];
}

/** The tile for a number of rows and of vectors. */
template <Steps STEPS>
inline Tile tile_of(int rows, int vectors) {
    auto all = std::make_integer_sequence<int, ROWS>();
    if constexpr (VECTORS == 3) {
        if (vectors == 3) {
            return tile_of<3, STEPS>(rows, all);
        }
    }
    return vectors == 2 ? tile_of<2, STEPS>(rows, all) : tile_of<1, STEPS>(rows, all);
}

/** Packs k rows of `vectors` vectors: the columns of b from j on, of which there are n; behind them is nothing of use. */
inline void pack(const Matrix& b, int from, int k, int j, int n, int vectors, float* packed) {
    int64_t width = W * vectors;
    if (b.column == 1) {
        const float* row = b.from + from * b.row + j;
        if (n == width) {
            for (int i = 0; i < k; i++, row += b.row, packed += width) {
                for (int v = 0; v < vectors; v++) {
                    floats(packed + W * v) = floats(row + W * v);
                }
            }
        } else {
            for (int i = 0; i < k; i++, row += b.row, packed += width) {
                for (int v = 0; v < vectors; v++) {
                    floats(packed + W * v) = load(row + W * v, std::min(W, n - W * v));
                }
            }
        }
        return;
    }
    for (int v = 0; v < vectors; v++) {
        const float* rows = b.from + (j + W * v) * b.column + from;  // of the transposed matrix
        int last = std::min(W, n - W * v) - 1;
        float* to = packed + W * v;
        int i = 0;
        for (; i + 4 <= k; i += 4) {
            Floats columns[4];
            transpose_four([&](int r) { return rows + std::min(r, last) * b.column + i; }, columns);
            for (int r = 0; r < 4; r++) {
                floats(to + (i + r) * width) = columns[r];
            }
        }
        for (; i < k; i++) {
            for (int l = 0; l < W; l++) {
                to[i * width + l] = rows[std::min(l, last) * b.column + i];
            }
        }
    }
}

inline int vectors_of(int columns) {
    return std::min(VECTORS, (columns + W - 1) / W);
}

/**
 * Some rows of c with a packed panel: n columns from c on. With a triangle of steps k does not count those, and there are
 * at most ROWS rows.
 */
template <Steps STEPS = Steps::ALL>
inline void rows_with_panel(const Matrix& a, int m, const float* panel, int n, int k, float* c, int64_t c_row, Begin begin,
                            const float* bias, bool with_relu) {
    int vectors = vectors_of(n);
    int width = W * vectors;
    float edge[ROWS * PANEL];
    float edge_bias[PANEL];
    if (n < width && begin == Begin::BIAS) {
        memcpy(edge_bias, bias, sizeof(float) * n);
        bias = edge_bias;
    }
    for (int i = 0; i < m; i += ROWS) {
        int rows = std::min(ROWS, m - i);
        Tile some = tile_of<STEPS>(rows, vectors);
        const float* from = a.from + i * a.row;
        float* to = c + i * c_row;
        if (n == width) {
            some(from, a.row, a.column, panel, width, k, to, c_row, begin, bias, with_relu);
            continue;
        }
        for (int r = 0; r < rows && begin == Begin::RESULT; r++) {
            memcpy(edge + r * width, to + r * c_row, sizeof(float) * n);
        }
        some(from, a.row, a.column, panel, width, k, edge, width, begin, bias, with_relu);
        for (int r = 0; r < rows; r++) {
            memcpy(to + r * c_row, edge + r * width, sizeof(float) * n);
        }
    }
}

/** Rows that are `stride` apart, four elements at a time: few addresses, each with a multiple that instructions can add. */
struct Rows {
    const float* every_fourth[W / 2];
    int64_t stride;
    int64_t thrice = 3 * stride;

    Rows(const float* from, int64_t stride) : stride(stride) {
        for (int i = 0; i < W / 2; i++) {
            every_fourth[i] = from + 4 * i * stride;
        }
    }

    const float* operator()(int i) const {
        const float* row = every_fourth[i / 4];
        return i % 4 == 3 ? row + thrice : row + i % 4 * stride;
    }

    void advance() {
        for (auto& row : every_fourth) {
            row += 4;
        }
    }
};

/** The same of n rows; behind them the last one is read again. */
struct FewRows {
    const float* from;
    int64_t stride;
    int n;

    const float* operator()(int i) const { return from + std::min(i, n - 1) * stride; }

    void advance() { from += 4; }
};

/** An element's sum, one vector of them. */
struct Chain {
    Floats sum;

    void add(Floats a, Floats b, int) { sum = fma(a, b, sum); }

    /** Called when `taken` steps of k are done. */
    void after(int /* taken */, int /* k */) {}

    static Floats factor(Floats b) { return b; }
};

/** Columns j to j + n - 1 of R rows of c, from rows of b's transpose; n is at most 2 W. */
template <typename Chain, int R, typename Transposed>
inline void two_vectors(const Matmul& p, int j, int n, Transposed rows) {
    int count[2] = {std::min(W, n), std::max(0, n - W)};
    Chain chains[R][2] = {};
    for (int r = 0; r < R && p.begin == Begin::BIAS; r++) {
        chains[r][0].sum = load(p.bias + j, count[0]);
        chains[r][1].sum = load(p.bias + j + W, count[1]);
    }
    const float* a = p.a.from;
    int k = 0;
    for (; k + 4 <= p.k; k += 4) {
        Floats columns[2][4];
        transpose_four([&](int i) { return rows(i); }, columns[0]);
        transpose_four([&](int i) { return rows(W + i); }, columns[1]);
        rows.advance();
#pragma GCC unroll 4
        for (int s = 0; s < 4; s++) {
            Floats b[2] = {Chain::factor(columns[0][s]), Chain::factor(columns[1][s])};
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) {
                Floats x = all(a[r * p.a.row + k + s]);
                chains[r][0].add(x, b[0], s);
                chains[r][1].add(x, b[1], s);
            }
        }
        for (int r = 0; r < R; r++) {
            chains[r][0].after(k + 4, p.k);
            chains[r][1].after(k + 4, p.k);
        }
    }
    for (int s = 0; k < p.k; k++, s++) {
        Floats columns[2];
        for (int i = 0; i < W; i++) {
            columns[0][i] = rows(i)[s];
            columns[1][i] = rows(W + i)[s];
        }
        for (int r = 0; r < R; r++) {
            Floats x = all(a[r * p.a.row + k]);
            chains[r][0].add(x, Chain::factor(columns[0]), s);
            chains[r][1].add(x, Chain::factor(columns[1]), s);
            chains[r][0].after(k + 1, p.k);
            chains[r][1].after(k + 1, p.k);
        }
    }
    for (int r = 0; r < R; r++) {
        float* c = p.c + r * p.c_row + j;
        for (int v = 0; v < 2; v++) {
            Floats sum = chains[r][v].sum;
            store(c + W * v, p.relu ? relu(sum) : sum, count[v]);
        }
    }
}

/** R rows: each element of b is used so seldom that it is transposed in registers instead of packed. */
template <typename Chain, int R>
inline void few_rows(const Matmul& p) {
    if (p.n < 2 * W) {
        two_vectors<Chain, R>(p, 0, p.n, FewRows{p.b.from, p.b.column, p.n});
        return;
    }
    for (int i = 0; i < p.n; i += 2 * W) {
        int j = std::min(i, p.n - 2 * W);  // computes some of the last columns once more
        two_vectors<Chain, R>(p, j, 2 * W, Rows(p.b.from + j * p.b.column, p.b.column));
    }
}

/** Whether there are so few rows that b is not packed. */
inline bool has_few_rows(const Matmul& p) {
    return p.m <= 4 && p.b.row == 1 && p.a.column == 1 && p.begin != Begin::RESULT;
}

template <typename Chain>
inline void few_rows(const Matmul& p) {
    constexpr void (*few[])(const Matmul&) = {few_rows<Chain, 1>, few_rows<Chain, 2>, few_rows<Chain, 3>, few_rows<Chain, 4>};
    few[p.m - 1](p);
}

inline void matmul(const Matmul& p) {
    if (has_few_rows(p)) {
        few_rows<Chain>(p);
        return;
    }
    alignas(64) float panel[DEPTH * PANEL];
    for (int i = 0; i < p.m; i += HEIGHT) {
        int m = std::min(HEIGHT, p.m - i);
        for (int from = 0; from < p.k; from += DEPTH) {
            int k = std::min(DEPTH, p.k - from);
            Begin begin = from == 0 ? p.begin : Begin::RESULT;
            Matrix a = {p.a.from + i * p.a.row + from * p.a.column, p.a.row, p.a.column};
            for (int j = 0; j < p.n; j += PANEL) {
                int n = std::min(PANEL, p.n - j);
                pack(p.b, from, k, j, n, vectors_of(n), panel);
                const float* bias = p.begin == Begin::BIAS ? p.bias + j : nullptr;
                rows_with_panel(a, m, panel, n, k, p.c + i * p.c_row + j, p.c_row, begin, bias, p.relu && from + k == p.k);
            }
        }
    }
}

}  // namespace
