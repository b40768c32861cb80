// What NativePeak measures: fused multiply-adds and nothing else.
#pragma once

#include "call.h"
#include "vector.h"

namespace {

// Two units with a latency of 5 cycles need 10 chains; 16 registers hold these, the factor and the addend.
constexpr int CHAINS = 12;
constexpr int NUMBERS = 16 * CHAINS;  // of all chains with the widest vectors, as NativePeak's

/** x (192) = x factor + addend, turns times. */
void peak(Call call) {
    float* x = call.floats();
    int turns = call.number();
    Floats factor = all(call.real());
    Floats addend = all(call.real());
    for (int from = 0; from < NUMBERS; from += CHAINS * W) {
        Floats chains[CHAINS];
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            chains[i] = floats(x + from + i * W);
        }
        for (int turn = 0; turn < turns; turn++) {
#pragma GCC unroll 12
            for (int i = 0; i < CHAINS; i++) {
                chains[i] = fma(chains[i], factor, addend);
            }
        }
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            floats(x + from + i * W) = chains[i];
        }
    }
}

}  // namespace
