// Causal self-attention: Operations' attention, attentionGrad and attentionCached, as JavaAttention computes them. Each
// score is a chain of fused multiply-adds over the head's channels, each output one over its keys, each gradient of a key
// one over its queries, all in ascending order; and each sum over keys is a Sum.
#pragma once

#include "call.h"
#include "matmul.h"
#include "softmax.h"

namespace {

/** qkv, dqkv (batch, t, 3 width), out, dout (batch, t, width), stats (batch, heads, t, 2), mask (batch, heads, t, t). */
struct Attention {
    const float* qkv;
    float* out;
    float* stats;       // maximum, 1 / denominator of the softmax
    const float* mask;  // factors of dropout, or null
    float* scratch;     // as NativeAttention.scratch
    const float* dout;  // of the gradient only
    float* dqkv;        // of the gradient only
    int batch;
    int t;
    int heads;
    int size;  // of a head
    float scale;

    int width() const { return heads * size; }
};

// ---------------------------------------------------------------------------------------------- short sequences

constexpr int SHORT = 24;  // below it, heads are on the lanes of vectors

/** W heads side by side: a vector holds the same element of each, so that the code reads as that of one head. */
class Heads {
public:
    explicit Heads(const Attention& a) : a(a), t(a.t), size(a.size), width(a.width()) {
        next = reinterpret_cast<Floats*>(a.scratch);
        q = take(t * size);
        k = take(t * size);
        v = take(t * size);
        out = take(t * size);
        p = take(t * t);
        ds = take(t * t);
        stats = take(2 * t);
        mask = take(t * t);
        dout = take(t * size);
        dq = take(t * size);
        dk = take(t * size);
        dv = take(t * size);
    }

    void forward() {
        for (head0 = 0; head0 < a.batch * a.heads; head0 += W) {
            find_heads();
            load_inputs();
            forward_rows();
            store_rows(out, a.out, width, 0);
            scatter(stats, 1, 0, 2 * t, a.stats, [&](int lane) { return int64_t(heads[lane]) * 2 * t; });
        }
    }

    void backward() {
        for (head0 = 0; head0 < a.batch * a.heads; head0 += W) {
            find_heads();
            load_inputs();
            load_rows(a.out, width, 0, out);
            load_rows(a.dout, width, 0, dout);
            gather(a.stats, 1, 0, 2 * t, stats, [&](int lane) { return int64_t(heads[lane]) * 2 * t; });
            backward_rows();
            store_rows(dq, a.dqkv, 3 * width, 0);
            store_rows(dk, a.dqkv, 3 * width, width);
            store_rows(dv, a.dqkv, 3 * width, 2 * width);
        }
    }

private:
    Floats* take(int n) {
        Floats* taken = next;
        next += n;
        return taken;
    }

    // Each step is for all rows, whose chains of operations the processor then overlaps.

    void forward_rows() {
        scores();
        for (int i = 0; i < t; i++) {
            Floats max = all(-__builtin_inff());
            for (int j = 0; j <= i; j++) {
                max = larger(max, p[i * t + j]);
            }
            stats[2 * i] = max;
        }
        exponentials();
        for (int i = 0; i < t; i++) {
            stats[2 * i + 1] = 1 / sum(p + i * t, i + 1);
        }
        for (int i = 0; i < t; i++) {
            for (int j = 0; j <= i; j++) {
                p[i * t + j] *= stats[2 * i + 1];
                if (a.mask) {
                    p[i * t + j] *= mask[i * t + j];
                }
            }
        }
        for (int i = 0; i < t; i++) {
            weighted_sum(p + i * t, 1, v, i + 1, out + i * size);
        }
    }

    /** p (t, t) = the scores. */
    void scores() {
        for (int i = 0; i < t; i++) {
            for (int j = 0; j <= i; j++) {
                p[i * t + j] = product(q + i * size, k + j * size);
            }
        }
    }

    /** p = e^(p - max). */
    void exponentials() {
        for (int i = 0; i < t; i++) {
            for (int j = 0; j <= i; j++) {
                p[i * t + j] = exp(p[i * t + j] - stats[2 * i]);
            }
        }
    }

    /** As Sum's, of each head; overwrites nothing. */
    static Floats sum(const Floats* x, int n) {
        Floats sums[LANES];
        for (int i = 0; i < n; i++) {
            sums[i % LANES] = i < LANES ? x[i] : sums[i % LANES] + x[i];
        }
        n = std::min(n, LANES);  // the others are 0
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i + half < n; i++) {
                sums[i] += sums[i + half];
            }
            n = std::min(n, half);
        }
        return sums[0];
    }

    /** y (size) = the sum of n rows of x, the weight of row r being w[step * r]. */
    void weighted_sum(const Floats* w, int step, const Floats* x, int n, Floats* y) const {
        int d = 0;
        for (; d + 8 <= size; d += 8) {
            weighted_sum<8>(w, step, x + d, n, y + d);
        }
        for (; d < size; d++) {
            weighted_sum<1>(w, step, x + d, n, y + d);
        }
    }

    template <int D>
    void weighted_sum(const Floats* w, int step, const Floats* x, int n, Floats* y) const {
        Floats sums[D] = {};
        for (int r = 0; r < n; r++, w += step, x += size) {
            Floats weight = *w;
#pragma GCC unroll 8
            for (int e = 0; e < D; e++) {
                sums[e] = fma(weight, x[e], sums[e]);
            }
        }
        for (int e = 0; e < D; e++) {
            y[e] = sums[e];
        }
    }

    void backward_rows() {
        scores();
        exponentials();
        for (int i = 0; i < t; i++) {
            Floats products[LANES] = {};
            for (int d = 0; d < size; d++) {
                products[d % LANES] = fma(out[i * size + d], dout[i * size + d], products[d % LANES]);
            }
            Floats inner = sum(products, std::min(size, LANES));
            for (int j = 0; j <= i; j++) {
                int at = i * t + j;
                Floats dp = product(dout + i * size, v + j * size);
                Floats weight = p[at] * stats[2 * i + 1];
                if (a.mask) {
                    dp *= mask[at];
                }
                ds[at] = weight * (dp - inner);
                p[at] = a.mask ? weight * mask[at] : weight;
            }
        }
        for (int i = 0; i < t; i++) {
            weighted_sum(ds + i * t, 1, k, i + 1, dq + i * size);
            weighted_sum(ds + i * t + i, t, q + i * size, t - i, dk + i * size);
            weighted_sum(p + i * t + i, t, dout + i * size, t - i, dv + i * size);
        }
        for (int i = 0; i < t * size; i++) {
            dq[i] *= a.scale;
        }
    }

    Floats product(const Floats* x, const Floats* y) const {
        Floats sum = {};
        int d = 0;
        for (; d + 8 <= size; d += 8) {
#pragma GCC unroll 8
            for (int e = 0; e < 8; e++) {
                sum = fma(x[d + e], y[d + e], sum);
            }
        }
        for (; d < size; d++) {
            sum = fma(x[d], y[d], sum);
        }
        return sum;
    }

    void load_inputs() {
        load_rows(a.qkv, 3 * width, 0, q);
        load_rows(a.qkv, 3 * width, width, k);
        load_rows(a.qkv, 3 * width, 2 * width, v);
        for (int i = 0; i < t * size; i++) {
            q[i] *= a.scale;
        }
        if (a.mask) {
            gather(a.mask, 1, 0, t * t, mask, [&](int lane) { return int64_t(heads[lane]) * t * t; });
        }
    }

    /** y (t, size) of each head from x (batch, t, stride), whose rows hold all heads from a column on. */
    void load_rows(const float* x, int stride, int column, Floats* y) {
        gather(x, t, stride, size, y, [&](int lane) { return int64_t(rows[lane]) * stride + column + columns[lane]; });
    }

    void store_rows(const Floats* x, float* y, int stride, int column) {
        scatter(x, t, stride, size, y, [&](int lane) { return int64_t(rows[lane]) * stride + column + columns[lane]; });
    }

    /** Finds the heads of the lanes; the last one again where there are no more. */
    void find_heads() {
        for (int lane = 0; lane < W; lane++) {
            heads[lane] = std::min(head0 + lane, a.batch * a.heads - 1);
            rows[lane] = heads[lane] / a.heads * t;
            columns[lane] = heads[lane] % a.heads * size;
        }
    }

    /** y (count, n) of each lane: rows of x, `stride` apart, from at(lane) on. */
    template <typename At>
    void gather(const float* x, int count, int stride, int n, Floats* y, At at) const {
        for (int lane = 0; lane < W; lane += 4) {
            const float* from[4] = {x + at(lane), x + at(lane + 1), x + at(lane + 2), x + at(lane + 3)};
            float* to = reinterpret_cast<float*>(y) + lane;
            for (int i = 0; i < count; i++) {
                int d = 0;
                for (; d + 4 <= n; d += 4, to += 4 * W) {
                    Four quads[4] = {four(from[0] + d), four(from[1] + d), four(from[2] + d), four(from[3] + d)};
                    transpose(quads);
                    for (int r = 0; r < 4; r++) {
                        four(to + r * W) = quads[r];
                    }
                }
                for (; d < n; d++, to += W) {
                    for (int r = 0; r < 4; r++) {
                        to[r] = from[r][d];
                    }
                }
                for (auto& row : from) {
                    row += stride;
                }
            }
        }
    }

    /** The reverse. Lanes without a head of their own hold the same as the last one. */
    template <typename At>
    void scatter(const Floats* x, int count, int stride, int n, float* y, At at) const {
        for (int lane = 0; lane < W; lane += 4) {
            float* to[4] = {y + at(lane), y + at(lane + 1), y + at(lane + 2), y + at(lane + 3)};
            const float* from = reinterpret_cast<const float*>(x) + lane;
            for (int i = 0; i < count; i++) {
                int d = 0;
                for (; d + 4 <= n; d += 4, from += 4 * W) {
                    Four quads[4] = {four(from), four(from + W), four(from + 2 * W), four(from + 3 * W)};
                    transpose(quads);
                    for (int r = 0; r < 4; r++) {
                        four(to[r] + d) = quads[r];
                    }
                }
                for (; d < n; d++, from += W) {
                    for (int r = 0; r < 4; r++) {
                        to[r][d] = from[r];
                    }
                }
                for (auto& row : to) {
                    row += stride;
                }
            }
        }
    }

    const Attention& a;
    const int t;
    const int size;
    const int width;
    int head0 = 0;  // of the heads of all sequences, which are on the lanes
    int heads[W];
    int rows[W];     // where each head's sequence begins
    int columns[W];  // where each head begins in its rows
    Floats* next;
    Floats* q;      // (t, size), scaled
    Floats* k;      // (t, size)
    Floats* v;      // (t, size)
    Floats* out;    // (t, size)
    Floats* p;      // (t, t): weights
    Floats* ds;     // (t, t): the gradients of scores
    Floats* stats;  // (t, 2)
    Floats* mask;   // (t, t)
    Floats* dout;   // (t, size)
    Floats* dq;     // (t, size)
    Floats* dk;     // (t, size)
    Floats* dv;     // (t, size)
};

// ---------------------------------------------------------------------------------------------- long sequences

constexpr int BLOCK = 96;  // queries whose weights are kept for the gradients of their keys; a multiple of all ROWS

/** A packed matrix (depth, columns): its panels one behind the other. */
struct Panels {
    float* at;
    int depth;
    int columns;

    Panels(const Matrix& b, int depth, int columns, float** memory) : at(*memory), depth(depth), columns(columns) {
        for (int j = 0; j < columns; j += PANEL) {
            int n = std::min(PANEL, columns - j);
            pack(b, 0, depth, j, n, vectors_of(n), at + int64_t(j) * depth);
        }
        *memory += int64_t(depth) * ((columns + PANEL - 1) / PANEL * PANEL);
    }

    int count(int j) const { return std::min(PANEL, columns - j); }

    /** The panel of column j, from a row on. */
    const float* panel(int j, int row) const { return at + int64_t(j) * depth + row * W * vectors_of(count(j)); }
};

/** One head, in tiles of ROWS queries, whose weights stay in the first cache. */
class Head {
public:
    Head(const Attention& a, int sequence, int head)
        : a(a), t(a.t), size(a.size), width(a.width()), row(3 * width), p_row((t + PANEL - 1) / PANEL * PANEL) {
        int64_t first = (int64_t(sequence) * t) * width + head * size;
        q = a.qkv + 3 * (int64_t(sequence) * t) * width + head * size;
        out = a.out + first;
        stats = a.stats + (int64_t(sequence) * a.heads + head) * t * 2;
        mask = a.mask ? a.mask + (int64_t(sequence) * a.heads + head) * t * t : nullptr;
        if (a.dout) {
            dout = a.dout + first;
            dq = a.dqkv + (q - a.qkv);
        }
    }

    void forward() {
        float* memory = a.scratch;
        Panels keys({q + width, 1, row}, size, t, &memory);
        Panels values({q + 2 * width, row, 1}, t, size, &memory);
        float* scaled = memory;           // (ROWS, size)
        float* p = scaled + ROWS * size;  // (ROWS, p_row)
        for (int i = 0; i < t; i += ROWS) {
            int rows = std::min(ROWS, t - i);
            scale_queries(i, rows, scaled);
            scores(scaled, size, rows, keys, i + rows, p);
            for (int r = 0; r < rows; r++) {
                softmax(p + r * p_row, i + r);
            }
            with_triangle(p, rows, i, values, out + int64_t(i) * width, width);
        }
    }

    void backward() {
        float* memory = a.scratch;
        Panels keys({q + width, 1, row}, size, t, &memory);
        Panels values({q + 2 * width, 1, row}, size, t, &memory);
        Panels key_rows({q + width, row, 1}, t, size, &memory);
        float* scaled = memory;  // (t, size)
        scale_queries(0, t, scaled);
        memory += t * size;
        Panels query_rows({scaled, size, 1}, t, size, &memory);
        Panels dout_rows({dout, width, 1}, t, size, &memory);
        float* p = memory;                            // (BLOCK, p_row)
        float* ds = p + int64_t(BLOCK) * p_row;       // (BLOCK, p_row)
        for (int begin = 0; begin < t; begin += BLOCK) {
            int end = std::min(begin + BLOCK, t);
            for (int i = begin; i < end; i += ROWS) {
                int rows = std::min(ROWS, end - i);
                float* weights = p + int64_t(i - begin) * p_row;
                float* dscores = ds + int64_t(i - begin) * p_row;
                scores(scaled + int64_t(i) * size, size, rows, keys, i + rows, weights);
                scores(dout + int64_t(i) * width, width, rows, values, i + rows, dscores);
                for (int r = 0; r < rows; r++) {
                    score_gradients(weights + r * p_row, dscores + r * p_row, i + r);
                }
                float* to = dq + int64_t(i) * row;
                with_triangle(dscores, rows, i, key_rows, to, row);
                for (int r = 0; r < rows; r++) {
                    scale(to + int64_t(r) * row, to + int64_t(r) * row);
                }
            }
            key_gradients(ds, begin, end, query_rows, dq + width);
            key_gradients(p, begin, end, dout_rows, dq + 2 * width);
        }
    }

private:
    void scale(const float* x, float* y) const {
        for (int d = 0; d < size; d += W) {
            int n = std::min(W, size - d);
            store(y + d, load(x + d, n) * a.scale, n);
        }
    }

    void scale_queries(int i, int rows, float* scaled) const {
        for (int r = 0; r < rows; r++) {
            scale(q + int64_t(i + r) * row, scaled + int64_t(r) * size);
        }
    }

    /** p (rows, p_row): the first `keys` columns = x (rows, size) times the keys. Whole vectors are written. */
    void scores(const float* x, int64_t x_row, int rows, const Panels& columns, int keys, float* p) const {
        for (int j = 0; j < keys; j += PANEL) {
            int n = W * vectors_of(columns.count(j));
            rows_with_panel({x, x_row, 1}, rows, columns.panel(j, 0), n, size, p + j, p_row, Begin::ZERO, nullptr, false);
        }
    }

    /** The weights of query i from its scores. */
    void softmax(float* p, int i) const {
        float max = largest(p, i + 1);
        float factor = 1 / exponentials(p, max, i + 1, p);
        stats[2 * i] = max;
        stats[2 * i + 1] = factor;
        for (int j = 0; j <= i; j += W) {
            floats(p + j) *= factor;  // the scratch holds whole vectors
            apply_mask(p, i, j);
        }
    }

    void apply_mask(float* x, int i, int j) const {
        if (mask) {
            floats(x + j) *= load(mask + int64_t(i) * t + j, std::min(W, t - j));
        }
    }

    /** From the scores of query i, and the gradients of its weights, to its weights and the gradients of its scores. */
    void score_gradients(float* p, float* ds, int i) const {
        float max = stats[2 * i];
        float factor = stats[2 * i + 1];
        float inner = dot(out + int64_t(i) * width, dout + int64_t(i) * width, size);
        for (int j = 0; j <= i; j += W) {
            Floats weight = exp(floats(p + j) - max) * factor;
            floats(p + j) = weight;
            apply_mask(ds, i, j);
            floats(ds + j) = weight * (floats(ds + j) - inner);
            apply_mask(p, i, j);
        }
    }

    /** y (rows, size) = x (rows, up to each query's own key) times rows of keys. */
    void with_triangle(const float* x, int rows, int i, const Panels& b, float* y, int64_t y_row) const {
        for (int d = 0; d < size; d += PANEL) {
            rows_with_panel<Steps::TRIANGLE_LAST>({x, p_row, 1}, rows, b.panel(d, 0), b.count(d), i, y + d, y_row,
                                                  Begin::ZERO, nullptr, false);
        }
    }

    /** y (end, size): adds up x^T times the rows of queries begin to end - 1, x (queries, p_row). */
    void key_gradients(const float* x, int begin, int end, const Panels& b, float* y) const {
        for (int d = 0; d < size; d += PANEL) {
            for (int j = 0; j < end; j += ROWS) {
                int rows = std::min(ROWS, end - j);
                float* to = y + int64_t(j) * row + d;
                if (j < begin) {
                    rows_with_panel({x + j, 1, p_row}, rows, b.panel(d, begin), b.count(d), end - begin, to, row,
                                    Begin::RESULT, nullptr, false);
                } else {
                    rows_with_panel<Steps::TRIANGLE_FIRST>({x + int64_t(j - begin) * p_row + j, 1, p_row}, rows,
                                                           b.panel(d, j), b.count(d), end - j - rows, to, row,
                                                           Begin::ZERO, nullptr, false);
                }
            }
        }
    }

    const Attention& a;
    const int t;
    const int size;
    const int width;
    const int64_t row;    // of qkv
    const int64_t p_row;  // of weights: whole panels
    const float* q;
    float* out;
    float* stats;
    const float* mask;
    const float* dout = nullptr;
    float* dq = nullptr;
};

Attention attention_of(Call& call) {
    Attention a = {};
    a.qkv = call.floats();
    a.out = call.floats();
    a.stats = call.floats();
    a.mask = call.floats();
    a.scratch = call.floats();
    a.dout = call.floats();
    a.dqkv = call.floats();
    a.batch = call.number();
    a.t = call.number();
    a.heads = call.number();
    a.size = call.number();
    a.scale = call.real();
    return a;
}

void attention(Call call) {
    Attention a = attention_of(call);
    if (a.t < SHORT) {
        Heads(a).forward();
        return;
    }
    for (int i = 0; i < a.batch * a.heads; i++) {
        Head(a, i / a.heads, i % a.heads).forward();
    }
}

void attention_grad(Call call) {
    Attention a = attention_of(call);
    if (a.t < SHORT) {
        Heads(a).backward();
        return;
    }
    for (int i = 0; i < a.batch * a.heads; i++) {
        Head(a, i / a.heads, i % a.heads).backward();
    }
}

/** Appends the keys and values of qkv (batch, t, 3 width) to cache (batch, context, 2 width), and attends to all there. */
void attention_cached(Call call) {
    const float* qkv = call.floats();
    float* out = call.floats();
    float* cache = call.floats();
    float* p = call.floats();  // at least position + t, in whole vectors, and size
    int batch = call.number();
    int t = call.number();
    int heads = call.number();
    int size = call.number();
    int context = call.number();
    int position = call.number();
    float scale = call.real();
    int width = heads * size;
    float* q = p;  // (size)
    p += size;
    for (int b = 0; b < batch; b++) {
        float* rows = cache + int64_t(b) * context * 2 * width;
        for (int i = 0; i < t; i++) {
            const float* row = qkv + (int64_t(b) * t + i) * 3 * width;
            float* to = out + (int64_t(b) * t + i) * width;
            memcpy(rows + int64_t(position + i) * 2 * width, row + width, 2 * sizeof(float) * width);
            int visible = position + i + 1;
            for (int h = 0; h < heads; h++) {
                const float* keys = rows + h * size;
                for (int d = 0; d < size; d++) {
                    q[d] = row[h * size + d] * scale;
                }
                if (visible < 2 * W) {
                    for (int j = 0; j < visible; j++) {
                        p[j] = 0;
                        for (int d = 0; d < size; d++) {
                            p[j] = fma(q[d], keys[int64_t(j) * 2 * width + d], p[j]);
                        }
                    }
                } else {
                    matmul({1, visible, size, {q, size, 1}, {keys, 1, 2 * width}, p, 0, Begin::ZERO, nullptr, false});
                }
                float max = largest(p, visible);
                multiply(p, 1 / exponentials(p, max, visible, p), visible);
                const float* values = keys + width;
                for (int d = 0; d < size; d += W) {
                    int n = std::min(W, size - d);
                    Floats sums = {};
                    for (int j = 0; j < visible; j++) {
                        sums = fma(p[j], load(values + int64_t(j) * 2 * width + d, n), sums);
                    }
                    store(to + h * size + d, sums, n);
                }
            }
        }
    }
}

}  // namespace
