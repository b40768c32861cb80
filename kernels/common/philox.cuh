// Random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011),
// keyed as io.github.drakegpt.ops.Philox keys it, so that every device draws the same numbers.
#pragma once
#include "kernel.cuh"

// A stream of numbers for one purpose at one step.
struct Stream {
    unsigned long long seed;
    int purpose;
    long long step;
};

// The four words of a block, with UNROLL rounds in a row: one where it is inlined in many places and memory is waited for
// meanwhile, ten where drawing is what takes the time.
template <int UNROLL = 1>
__device__ __forceinline__ uint4 philox(const Stream& stream, unsigned long long block) {
    unsigned c0 = unsigned(block);
    unsigned c1 = unsigned(block >> 32) | unsigned(stream.purpose) << 16;
    unsigned c2 = unsigned(stream.step);
    unsigned c3 = unsigned(stream.step >> 32);
    unsigned k0 = unsigned(stream.seed);
    unsigned k1 = unsigned(stream.seed >> 32);
#pragma unroll UNROLL
    for (int round = 0; round < 10; round++) {
        unsigned long long product0 = 0xD2511F53ull * c0;  // one instruction for both halves
        unsigned long long product1 = 0xCD9E8D57ull * c2;
        c0 = unsigned(product1 >> 32) ^ c1 ^ k0;
        c1 = unsigned(product1);
        c2 = unsigned(product0 >> 32) ^ c3 ^ k1;
        c3 = unsigned(product0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}

__device__ __forceinline__ unsigned word_of(const uint4& block, int index) {
    return index == 0 ? block.x : index == 1 ? block.y : index == 2 ? block.z : block.w;
}

// Number `index` of a stream, four to a block.
__device__ __forceinline__ unsigned philox_word(const Stream& stream, unsigned long long index) {
    return word_of(philox(stream, index >> 2), int(index & 3));
}

// Dropout with inverted scaling, decided by 16-bit halves of Philox blocks: that of element e is half e % 8 of block e / 8,
// and zeroes it where it is below the threshold.
struct Dropout {
    Stream stream;
    unsigned threshold;  // 0: nothing is dropped
    float scale;

    __device__ bool active() const {
        return threshold > 0;
    }

    __device__ float factor(const uint4& block, int half) const {
        unsigned bits = word_of(block, half >> 1) >> (half & 1) * 16 & 0xffffu;
        return bits < threshold ? 0.0f : scale;
    }

    // The halves that decide about N runs of eight elements, which begin at element e and `apart` blocks further on each. All
    // lanes of the warp must call it.
    template <int N>
    __device__ void draw(unsigned long long e, unsigned long long apart, uint4 (&halves)[N]) const {
#pragma unroll
        for (int n = 0; n < N; n++) {
            halves[n] = philox<10>(stream, (e >> 3) + n * apart);
        }
        int first = int(e & 7);
        if (first != 0) {
#pragma unroll
            for (int n = 0; n < N; n++) {
                uint4 next = philox(stream, (e >> 3) + n * apart + 1);
                unsigned words[8] = {halves[n].x, halves[n].y, halves[n].z, halves[n].w, next.x, next.y, next.z, next.w};
                shift<4>(words, first);
                shift<2>(words, first);
                shift<1>(words, first);
                halves[n] = make_uint4(words[0], words[1], words[2], words[3]);
            }
        }
    }

    // Whether the low or the high half of a word lets its element stay.
    __device__ bool keeps_low(unsigned word) const {
        return (word & 0xffffu) >= threshold;
    }
    __device__ bool keeps_high(unsigned word) const {
        return word >= threshold << 16;
    }

private:
    // Moves what eight words hold COUNT halves down if that is part of `first`.
    template <int COUNT>
    __device__ static void shift(unsigned (&words)[8], int first) {
        if (first & COUNT) {
#pragma unroll
            for (int i = 0; i + (COUNT + 1) / 2 < 8; i++) {
                words[i] = COUNT == 1 ? words[i] >> 16 | words[i + 1] << 16 : words[i + COUNT / 2];
            }
        }
    }
};

// `step` may be null where nothing is dropped.
__device__ __forceinline__ Dropout make_dropout(
    unsigned long long seed, int purpose, const int* step, int threshold, float scale) {
    return {{seed, purpose, threshold > 0 ? *step : 0}, unsigned(threshold), scale};
}

// Multiplies the values, which are elements e, e + 1, ... of what is dropped from, by their factors.
template <int N>
__device__ __forceinline__ void apply(const Dropout& dropout, unsigned long long e, float (&values)[N]) {
    static_assert(N <= 8, "at most two blocks are drawn");
    uint4 block = philox(dropout.stream, e >> 3);
    uint4 next = block;
    if ((e & 7) + N > 8) {
        next = philox(dropout.stream, (e >> 3) + 1);
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        int half = int(e & 7) + k;
        values[k] *= half < 8 ? dropout.factor(block, half) : dropout.factor(next, half - 8);
    }
}
