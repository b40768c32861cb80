// Masks of dropout from Philox4x32-10, as JavaDropout draws them; ops/Philox.java has the source and the counter's layout.
#pragma once

#include "call.h"
#include "vector.h"

namespace {

typedef uint64_t Longs __attribute__((vector_size(4 * W), aligned(8)));

constexpr int BLOCKS = W / 2;  // of a vector
constexpr int PAIR = 2;        // vectors side by side, since each round waits for the one before
constexpr int PER_BLOCK = 8;   // factors: a block's four words have two halves each

/** The products of the lower halves. */
inline Longs product(Longs a, uint64_t b) {
    Longs all_b = Longs{} + b;
#if defined __AVX512F__
    return reinterpret_cast<Longs>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(all_b)));
#elif defined __AVX2__
    return reinterpret_cast<Longs>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(all_b)));
#else
    return vmull_u32(vmovn_u64(a), vmovn_u64(all_b));
#endif
}

/** Two factors from the halves of words: 0 where a half is below the threshold, else the scale. */
inline Longs factors_of(Longs words, uint64_t threshold, uint64_t scale) {
    Longs low = reinterpret_cast<Longs>((words & 0xffff) >= threshold) & scale;
    Longs high = reinterpret_cast<Longs>((words >> 16) >= threshold) & scale;
    return low | high << 32;
}

void dropout_mask(Call call) {
    float* factors = call.floats();  // (blocks, 8), in whole pairs of vectors of blocks
    uint32_t key0 = call.number();
    uint32_t key1 = call.number();
    uint64_t purpose = call.number();
    uint32_t step = call.number();
    uint64_t first = uint32_t(call.number());
    first |= uint64_t(uint32_t(call.number())) << 32;
    int blocks = call.number();
    uint64_t threshold = call.number();
    uint64_t scale = uint32_t(call.number());  // its bits
    for (int from = 0; from < blocks; from += PAIR * BLOCKS) {
        Longs a[PAIR], b[PAIR], c[PAIR], d[PAIR];
        for (int v = 0; v < PAIR; v++) {
            for (int i = 0; i < BLOCKS; i++) {
                uint64_t index = first + from + v * BLOCKS + i;
                a[v][i] = uint32_t(index);
                b[v][i] = index >> 32 | purpose << 16;
            }
            c[v] = Longs{} + step;
            d[v] = Longs{};
        }
        uint32_t k0 = key0;
        uint32_t k1 = key1;
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
#pragma GCC unroll 2
            for (int v = 0; v < PAIR; v++) {
                Longs p = product(a[v], 0xd2511f53);
                Longs q = product(c[v], 0xcd9e8d57);
                a[v] = b[v] ^ q >> 32 ^ k0;
                c[v] = d[v] ^ p >> 32 ^ k1;
                b[v] = q & 0xffffffff;
                d[v] = p & 0xffffffff;
            }
            k0 += 0x9e3779b9;
            k1 += 0xbb67ae85;
        }
        uint64_t words[4][PAIR * BLOCKS];
        for (int v = 0; v < PAIR; v++) {
            const Longs all[] = {a[v], b[v], c[v], d[v]};
            for (int word = 0; word < 4; word++) {
                Longs two = factors_of(all[word], threshold, scale);
                memcpy(&words[word][v * BLOCKS], &two, sizeof two);
            }
        }
        for (int i = 0; i < PAIR * BLOCKS; i++, factors += PER_BLOCK) {
            uint64_t block[] = {words[0][i], words[1][i], words[2][i], words[3][i]};
            memcpy(factors, block, sizeof block);
        }
    }
}

}  // namespace
