// What NativePeak measures: instructions that multiply and add, or that read memory, and nothing else.
#pragma once

#include "call.h"
#include "ternary.h"
#include "vector.h"

namespace {

// Two units with a latency of 5 cycles need 10 chains, and 16 registers hold 12, the factor and the addend; processors with
// NEON have up to four units with one of 4, and 32 registers.
constexpr int CHAINS = W == 4 ? 16 : 12;
constexpr int NUMBERS = 192;  // as NativePeak's; a multiple of the numbers in all chains

/** x (192) = x factor + addend, turns times. */
void peak_fp32(Call call) {
    float* operations = call.floats();  // (1): so many multiplications and additions this was
    float* x = call.floats();
    int turns = call.number();
    Floats factor = all(call.real());
    Floats addend = all(call.real());
    for (int from = 0; from < NUMBERS; from += CHAINS * W) {
        Floats chains[CHAINS];
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            chains[i] = floats(x + from + i * W);
        }
        for (int turn = 0; turn < turns; turn++) {
#pragma GCC unroll 16
            for (int i = 0; i < CHAINS; i++) {
                chains[i] = fma(chains[i], factor, addend);
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            floats(x + from + i * W) = chains[i];
        }
    }
    *operations = 2.0f * NUMBERS * turns;
}

template <const ternary::Kernels& KERNELS>
void peak_int8(Call call) {
    float* operations = call.floats();  // (1), as above
    *operations = KERNELS.peak(call.number());
}

/** Reads x (n), of which it makes one number that depends on each bit. */
void read(Call call) {
    int32_t* result = call.array<int32_t>();  // (1)
    const int32_t* x = call.array<int32_t>();
    int n = call.number();
    Ints chains[8] = {};
    int i = 0;
    for (; i + 8 * W <= n; i += 8 * W) {
#pragma GCC unroll 8
        for (int chain = 0; chain < 8; chain++) {
            chains[chain] ^= *reinterpret_cast<const Ints*>(x + i + chain * W);
        }
    }
    *result = 0;
    for (; i < n; i++) {
        *result ^= x[i];
    }
    for (Ints chain : chains) {
        for (int lane = 0; lane < W; lane++) {
            *result ^= chain[lane];
        }
    }
}

}  // namespace
