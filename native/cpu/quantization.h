// Rounding in the training of quantized models: Operations' quantizeWeights and quantizeRows, as JavaQuantization computes
// them.
#pragma once

#include "call.h"
#include "vector.h"

#include <algorithm>

namespace {

typedef float Half __attribute__((vector_size(2 * W), may_alias, aligned(4)));
typedef double Doubles __attribute__((vector_size(4 * W)));

/** As Sum, in float64: element i goes to sum i % 16. */
class DoubleSum {
public:
    void add(const float* x, int n) {
        int i = 0;
        for (; i + LANES <= n; i += LANES) {
            for (int part = 0; part < 2 * PARTS; part++) {
                auto half = *reinterpret_cast<const Half*>(x + i + W / 2 * part);
                parts[part] += __builtin_convertvector(half, Doubles);
            }
        }
        memcpy(lanes, parts, sizeof lanes);
        for (; i < n; i++) {
            lanes[i % LANES] += x[i];
        }
    }

    double total() {
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                lanes[i] += lanes[i + half];
            }
        }
        return lanes[0];
    }

private:
    Doubles parts[2 * PARTS] = {};
    double lanes[LANES];
};

/** Adding and subtracting it rounds numbers below 2^22 to integers, ties to even. */
constexpr float ROUNDING = 0x1.8p23f;

/** A rounded vector; blended with the exact one where rounding is not at full strength yet. */
inline Floats blend(Floats exact, Floats rounded, float strength) {
    return strength < 1 ? fma(strength, rounded - exact, exact) : rounded;
}

/** q = w in two or three values, for each of some matrices of n elements. */
void quantize_weights(Call call) {
    const float* w = call.floats();
    float* q = call.floats();
    float* magnitudes = call.floats();  // (n)
    int matrices = call.number();
    int n = call.number();
    bool one_bit = call.number();
    float smallest = call.real();
    float strength = call.real();
    for (int m = 0; m < matrices; m++, w += n, q += n) {
        DoubleSum sum;
        sum.add(w, n);
        for (int i = 0; i < n; i += W) {
            int count = std::min(W, n - i);
            store(magnitudes + i, magnitude(load(w + i, count)), count);
        }
        DoubleSum sizes;
        sizes.add(magnitudes, n);
        float mean = float(sum.total() / n);
        float size = float(sizes.total() / n);
        float scale = 1 / (size < smallest ? smallest : size);
        float one = 1 / scale;
        for (int i = 0; i < n; i += W) {
            int count = std::min(W, n - i);
            Floats exact = load(w + i, count);
            Floats rounded;
            if (one_bit) {
                Floats centred = exact - mean;
                rounded = centred < 0 ? all(-size) : centred >= 0 ? all(size) : centred;  // NaN stays
            } else {
                rounded = exact * scale + ROUNDING - ROUNDING;
                rounded = rounded < -1 ? all(-1) : rounded > 1 ? all(1) : rounded;
                rounded *= one;
            }
            store(q + i, blend(exact, rounded, strength), count);
        }
    }
}

/** q = x (rows, c) in multiples of a row's largest magnitude / 127. */
void quantize_rows(Call call) {
    const float* x = call.floats();
    float* q = call.floats();
    int rows = call.number();
    int c = call.number();
    float smallest = call.real();
    float strength = call.real();
    for (int r = 0; r < rows; r++, x += c, q += c) {
        Floats most = {};
        for (int j = 0; j < c; j += W) {
            most = larger(most, magnitude(load(x + j, std::min(W, c - j))));
        }
        float size = largest(most);
        float scale = 127 / (size < smallest ? smallest : size);
        for (int j = 0; j < c; j += W) {
            int n = std::min(W, c - j);
            Floats exact = load(x + j, n);
            store(q + j, blend(exact, (exact * scale + ROUNDING - ROUNDING) / scale, strength), n);
        }
    }
}

}  // namespace
