// The kernels for vectors of any width: without a name outside of the file that includes them, since each is compiled for
// other instructions.
#pragma once

#include "layers.h"

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace layers {
namespace {

// ---------------------------------------------------------------------------------------------- layer norm

typedef float Four __attribute__((vector_size(16), may_alias, aligned(4)));

/** As VectorMath.sum: four sums side by side, the numbers that are left in the first. */
class Sum {
public:
    void add(Four x) { sums += x; }
    void add(float x) { sums[0] += x; }
    float total() const { return sums[0] + sums[1] + (sums[2] + sums[3]); }

private:
    Four sums = {0, 0, 0, 0};
};

const Four& four(const float* x) {
    return *reinterpret_cast<const Four*>(x);
}

void layer_norm(const LayerNorm& n) {
    int c = n.c;
    const float* weight = n.weight;
    const float* bias = n.bias;
    for (int row = 0; row < n.rows; row++) {
        const float* x = n.x + int64_t(row) * c;
        float* out = n.out + int64_t(row) * c;
        Sum sum;
        int i = 0;
        for (; i < c - 3; i += 4) {
            sum.add(four(x + i));
        }
        for (; i < c; i++) {
            sum.add(x[i]);
        }
        float mean = sum.total() / c;
        Sum squares;
        for (i = 0; i < c - 3; i += 4) {
            Four centred = four(x + i) - mean;
            squares.add(centred * centred);
        }
        for (; i < c; i++) {
            squares.add((x[i] - mean) * (x[i] - mean));
        }
        float rstd = float(1 / std::sqrt(double(squares.total() / c + n.eps)));
#pragma GCC ivdep
        for (i = 0; i < c; i++) {
            out[i] = (x[i] - mean) * rstd * weight[i] + bias[i];
        }
        n.stats[2 * row] = mean;
        n.stats[2 * row + 1] = rstd;
    }
}

void layer_norm_grad(const LayerNormGrad& n) {
    int c = n.c;
    const float* weight = n.weight;
    for (int row = 0; row < n.rows; row++) {
        const float* x = n.x + int64_t(row) * c;
        const float* dout = n.dout + int64_t(row) * c;
        float* dx = n.dx + int64_t(row) * c;
        float* products = n.products + int64_t(row) * c;
        float mean = n.stats[2 * row];
        float rstd = n.stats[2 * row + 1];
        Sum sum;
        Sum inner;
        int i = 0;
        for (; i < c - 3; i += 4) {
            Four normed = (four(x + i) - mean) * rstd;
            Four scaled = four(weight + i) * four(dout + i);
            *reinterpret_cast<Four*>(products + i) = four(dout + i) * normed;
            sum.add(scaled);
            inner.add(scaled * normed);
        }
        for (; i < c; i++) {
            float normed = (x[i] - mean) * rstd;
            float scaled = weight[i] * dout[i];
            products[i] = dout[i] * normed;
            sum.add(scaled);
            inner.add(scaled * normed);
        }
        float a = sum.total() / c;
        float b = inner.total() / c;
#pragma GCC ivdep
        for (i = 0; i < c; i++) {
            float normed = (x[i] - mean) * rstd;
            dx[i] += rstd * (weight[i] * dout[i] - a - normed * b);
        }
    }
}

// ---------------------------------------------------------------------------------------------- attention

/** W heads side by side: a vector holds the same element of each, so that the code reads as that of one head. */
template <int W>
class Heads {
public:
    typedef float Floats __attribute__((vector_size(4 * W), may_alias));
    typedef int32_t Ints __attribute__((vector_size(4 * W), may_alias));

    Heads(const Attention& a)
        : a(a), t(a.t), size(a.head_size), width(a.heads * a.head_size) {
        auto address = reinterpret_cast<uintptr_t>(a.scratch);
        next = reinterpret_cast<Floats*>((address + 4 * W - 1) / (4 * W) * (4 * W));
        q = take(t * size);
        k = take(t * size);
        v = take(t * size);
        out = take(t * size);
        p = take(t);
        stats = take(2 * t);
        mask = take(t * t);
        dout = take(t * size);
        dq = take(t * size);
        dk = take(t * size);
        dv = take(t * size);
    }

    void forward() {
        for (first = 0; first < a.batch * a.heads; first += W) {
            load();
            for (int i = 0; i < t; i++) {
                forward_row(i);
            }
            store(out, a.out, width, 0);
            store_stats();
        }
    }

    void backward() {
        for (first = 0; first < a.batch * a.heads; first += W) {
            load();
            load(a.out, width, 0, out);
            load(a.dout, width, 0, dout);
            load_stats();
            for (int i = 0; i < t * size; i++) {
                dq[i] = dk[i] = dv[i] = Floats{};
            }
            for (int i = 0; i < t; i++) {
                backward_row(i);
            }
            for (int i = 0; i < t * size; i++) {
                dq[i] *= a.scale;
            }
            store(dq, a.dqkv, 3 * width, 0);
            store(dk, a.dqkv, 3 * width, width);
            store(dv, a.dqkv, 3 * width, 2 * width);
        }
    }

private:
    Floats* take(int n) {
        Floats* taken = next;
        next += n;
        return taken;
    }

    /** From the query itself to the first token, in which order all sums over keys are. */
    void forward_row(int i) {
        Floats max = Floats{} - std::numeric_limits<float>::infinity();
        for (int j = i; j >= 0; j--) {
            p[j] = dot(q + i * size, k + j * size);
            max = p[j] > max || p[j] != p[j] ? p[j] : max;  // NaN stays
        }
        Floats sum = {};
        for (int j = i; j >= 0; j--) {
            p[j] = exp(p[j] - max);
            sum += p[j];
        }
        Floats factor = 1 / sum;
        for (int j = i; j >= 0; j--) {
            p[j] *= factor;
            if (a.mask) {
                p[j] *= mask[i * t + j];
            }
        }
        for (int d = 0; d < size; d++) {
            Floats o = {};
            for (int j = i; j >= 0; j--) {
                o += p[j] * v[j * size + d];
            }
            out[i * size + d] = o;
        }
        stats[2 * i] = max;
        stats[2 * i + 1] = factor;
    }

    void backward_row(int i) {
        Floats inner = dot(out + i * size, dout + i * size);
        for (int j = i; j >= 0; j--) {
            Floats dp = dot(dout + i * size, v + j * size);
            Floats weight = exp(dot(q + i * size, k + j * size) - stats[2 * i]) * stats[2 * i + 1];
            if (a.mask) {
                dp *= mask[i * t + j];
            }
            Floats ds = weight * (dp - inner);
            if (a.mask) {
                weight *= mask[i * t + j];
            }
            for (int d = 0; d < size; d++) {
                dq[i * size + d] += ds * k[j * size + d];
                dk[j * size + d] += ds * q[i * size + d];
                dv[j * size + d] += weight * dout[i * size + d];
            }
        }
    }

    Floats dot(const Floats* x, const Floats* y) const {
        Floats sum = {};
        for (int d = 0; d < size; d++) {
            sum += x[d] * y[d];
        }
        return sum;
    }

    /** As VectorMath.exp. */
    static Floats exp(Floats x) {
        x = x < -87.0f ? Floats{} - 87.0f : x;
        Floats rounded = x * 1.44269504f + 12582912.0f;
        Floats k = rounded - 12582912.0f;
        Floats f = x - k * 0.693359375f - k * -2.12194440e-4f;
        Floats p = f * 1.9875691500e-4f + 1.3981999507e-3f;
        p = p * f + 8.3334519073e-3f;
        p = p * f + 4.1665795894e-2f;
        p = p * f + 1.6666665459e-1f;
        p = p * f + 5.0000001201e-1f;
        p = p * f * f + f + 1.0f;
        return reinterpret_cast<Floats>(reinterpret_cast<Ints>(p) + (reinterpret_cast<Ints>(rounded) << 23));
    }

    void load() {
        load(a.qkv, 3 * width, 0, q);
        load(a.qkv, 3 * width, width, k);
        load(a.qkv, 3 * width, 2 * width, v);
        for (int i = 0; i < t * size; i++) {
            q[i] *= a.scale;
        }
        if (a.mask) {
            int64_t at[W];
            for (int l = 0; l < W; l++) {
                at[l] = int64_t(head(l)) * t * t;
            }
            gather(a.mask, at, t * t, mask);
        }
    }

    /** y (t, size) of each head from x (batch, t, stride), whose rows hold all heads from a column on. */
    void load(const float* x, int stride, int column, Floats* y) {
        for (int i = 0; i < t; i++) {
            int64_t at[W];
            for (int l = 0; l < W; l++) {
                at[l] = place(head(l), i, stride, column);
            }
            gather(x, at, size, y + i * size);
        }
    }

    void store(const Floats* x, float* y, int stride, int column) {
        for (int i = 0; i < t; i++) {
            int64_t at[W];
            for (int l = 0; l < W; l++) {
                at[l] = place(head(l), i, stride, column);
            }
            scatter(x + i * size, size, y, at);
        }
    }

    void load_stats() {
        int64_t at[W];
        for (int l = 0; l < W; l++) {
            at[l] = int64_t(head(l)) * 2 * t;
        }
        gather(a.stats, at, 2 * t, stats);
    }

    void store_stats() {
        int64_t at[W];
        for (int l = 0; l < W; l++) {
            at[l] = int64_t(head(l)) * 2 * t;
        }
        scatter(stats, 2 * t, a.stats, at);
    }

    /** The head of a lane; the last one again where there are no more. */
    int head(int lane) const {
        int heads = a.batch * a.heads;
        return first + lane < heads ? first + lane : heads - 1;
    }

    int64_t place(int head, int i, int stride, int column) const {
        return (int64_t(head / a.heads) * t + i) * stride + column + head % a.heads * size;
    }

    /** y[d] = x[at[lane] + d] of each lane, for d < n. */
    static void gather(const float* x, const int64_t* at, int n, Floats* y) {
        float* to = reinterpret_cast<float*>(y);
        for (int l = 0; l < W; l += 4) {
            int d = 0;
            for (; d < n - 3; d += 4) {
                __m128 rows[4];
                for (int r = 0; r < 4; r++) {
                    rows[r] = _mm_loadu_ps(x + at[l + r] + d);
                }
                _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
                for (int r = 0; r < 4; r++) {
                    _mm_store_ps(to + (d + r) * W + l, rows[r]);
                }
            }
            for (; d < n; d++) {
                for (int r = 0; r < 4; r++) {
                    to[d * W + l + r] = x[at[l + r] + d];
                }
            }
        }
    }

    /** The reverse. Lanes without a head of their own hold the same as the last one. */
    static void scatter(const Floats* x, int n, float* y, const int64_t* at) {
        const float* from = reinterpret_cast<const float*>(x);
        for (int l = 0; l < W; l += 4) {
            int d = 0;
            for (; d < n - 3; d += 4) {
                __m128 rows[4];
                for (int r = 0; r < 4; r++) {
                    rows[r] = _mm_load_ps(from + (d + r) * W + l);
                }
                _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
                for (int r = 0; r < 4; r++) {
                    _mm_storeu_ps(y + at[l + r] + d, rows[r]);
                }
            }
            for (; d < n; d++) {
                for (int r = 0; r < 4; r++) {
                    y[at[l + r] + d] = from[d * W + l + r];
                }
            }
        }
    }

    const Attention& a;
    const int t;
    const int size;
    const int width;
    int first = 0;  // of the heads of all sequences, which are on the lanes
    Floats* next;
    Floats* q;      // (t, size), scaled
    Floats* k;      // (t, size)
    Floats* v;      // (t, size)
    Floats* out;    // (t, size)
    Floats* p;      // (t): the weights of one query
    Floats* stats;  // (t, 2)
    Floats* mask;   // (t, t)
    Floats* dout;   // (t, size)
    Floats* dq;     // (t, size)
    Floats* dk;     // (t, size)
    Floats* dv;     // (t, size)
};

template <int W>
void attention(const Attention& a) {
    Heads<W>(a).forward();
}

template <int W>
void attention_grad(const Attention& a) {
    Heads<W>(a).backward();
}

}  // namespace
}  // namespace layers
