// Products of rows of int8 with weights of one or two bits, packed as io.github.drakegpt.quant.PackedMatrix says: in tiles of
// 16 rows, of which each unit (128 columns in two bits, 256 in one) is 512 bytes, 16 for each lane of a warp.
//
// packed_linear unpacks weights in registers and multiplies on the tensor cores. For few tokens it is bound by memory, where it
// reads each weight once; for more by the caches, where each tile of weights reads all the tokens' int8, and by the tensor cores.
// For many tokens unpack_codes writes the codes as int8, cuBLAS multiplies, and scale_products makes float32 of its sums: bound
// by memory, by arithmetic, by memory.
#include "common/mma.cuh"
#include "common/pack.cuh"

constexpr int TILE_ROWS = 16;
constexpr int PRODUCT_WARPS = 8;

// y (rows, out): what becomes of the sum over k of code[n, k] * x[m, k], where codes count from 0 and weights from -1. Each
// operation is rounded for itself, so that y does not depend on how the sum was found.
struct Outputs {
    const float* x_scales;  // (rows)
    const int* x_sums;      // (rows)
    const float* w_scales;  // (out)
    const float* bias;      // (out) or null
    float* y;
    int rows;
    int out;
    int relu;

    __device__ void put(int bits, int m, int n, int sum) const {
        // of two codes the larger stands for 1, of three the middle one for 0
        int product = (bits == 1 ? 2 * sum : sum) - x_sums[m];
        float value = __fmul_rn(float(product), __fmul_rn(w_scales[n], x_scales[m]));
        if (bias != nullptr) {
            value = __fadd_rn(value, bias[n]);
        }
        y[(long long)m * out + n] = relu && value <= 0 ? 0.0f : value;  // NaN stays
    }
};

// sums (TILES, 8 tokens each) += a lane's 16 bytes of weights, word by word, times the tokens' int8 of the same columns:
// tokens[i] is where those of the lane's token of tile i begin. The sums of rows 8 to 15 become 2^BITS times as large, since
// their codes are not shifted to where those of rows 0 to 7 lie.
template <int BITS, int TILES>
__device__ __forceinline__ void multiply_unit(const Pack<unsigned>& weights, const signed char* x,
                                              const int (&tokens)[TILES], int (&sums)[TILES][4]) {
    constexpr unsigned LOWER = BITS == 1 ? 0x01010101u : 0x03030303u;
    constexpr unsigned UPPER = LOWER << BITS;
#pragma unroll
    for (int v = 0; v < 2 / BITS; v++) {  // 128 columns
        unsigned a[4][4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            unsigned first = weights.elements[j] >> BITS * 4 * v;
            unsigned second = first >> BITS * 2;  // 16 columns further on
            a[j][0] = first & LOWER;
            a[j][1] = first & UPPER;
            a[j][2] = second & LOWER;
            a[j][3] = second & UPPER;
        }
#pragma unroll
        for (int i = 0; i < TILES; i++) {
            const Pack<unsigned>* columns = reinterpret_cast<const Pack<unsigned>*>(x + tokens[i] + 128 * v);
            Pack<unsigned> first = columns[0];
            Pack<unsigned> second = columns[1];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                mma_u8_s8(sums[i], a[j], first.elements[j], second.elements[j]);
            }
        }
    }
}

// x (rows, units * columns of a unit). A block has 8 * TILES tokens and, for each `splits` of its warps, which share the units,
// a tile of weights. Sums of whole numbers do not depend on how they are split.
template <int BITS, int TILES>
__device__ void packed_linear(const Pack<unsigned>* codes, const signed char* x, int units, int splits,
                              const Outputs& outputs) {
    constexpr int COLUMNS = 256 / BITS;
    constexpr int IN_FLIGHT = TILES == 1 ? 4 : 2;  // units that a warp loads while it multiplies with those before
    SHARED(int, parts, [PRODUCT_WARPS][TILES * 4][WARP]);
    int lane = int(threadIdx.x);
    int warp = int(threadIdx.y);
    int g = lane / 4;
    int t = lane % 4;
    int tiles = PRODUCT_WARPS / splits;
    int tile = blockIdx.x * tiles + warp / splits;
    int first_token = blockIdx.y * TILES * 8;
    int stride = units * COLUMNS;
    const signed char* block = x + (long long)first_token * stride;
    int tokens[TILES];
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        // in place of those that are missing the last one, whose products are not written twice
        tokens[i] = min(8 * i + g, outputs.rows - 1 - first_token) * stride + 32 * t;
    }
    int sums[TILES][4] = {};
    if (tile * TILE_ROWS < outputs.out) {
        const Pack<unsigned>* lanes = codes + (long long)tile * units * WARP + t * 8 + g;
        Pack<unsigned> next[IN_FLIGHT];
        auto load_next = [&](int unit) {
#pragma unroll
            for (int i = 0; i < IN_FLIGHT; i++) {
                next[i] = {};  // codes that add nothing
                if (unit + i * splits < units) {
                    next[i] = lanes[(unit + i * splits) * WARP];
                }
            }
        };
        load_next(warp % splits);
        for (int unit = warp % splits; unit < units; unit += IN_FLIGHT * splits) {
            Pack<unsigned> weights[IN_FLIGHT];
#pragma unroll
            for (int i = 0; i < IN_FLIGHT; i++) {
                weights[i] = next[i];
            }
            load_next(unit + IN_FLIGHT * splits);
#pragma unroll
            for (int i = 0; i < IN_FLIGHT; i++) {
                multiply_unit<BITS>(weights[i], block + min(unit + i * splits, units - 1) * COLUMNS, tokens, sums);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < TILES * 4; i++) {
        int sum = sums[i / 4][i % 4];
        parts[warp][i][lane] = i % 4 < 2 ? sum : sum >> BITS;
    }
    __syncthreads();
    for (int i = warp; i < tiles * TILES * 4; i += PRODUCT_WARPS) {
        int place = i / (TILES * 4);  // of the tile in the block
        int part = i % (TILES * 4);   // of a lane's sums, which lie as mma_u8_s8 says
        int sum = 0;
        for (int split = 0; split < splits; split++) {
            sum += parts[place * splits + split][part][lane];
        }
        int m = first_token + part / 4 * 8 + 2 * t + part % 2;
        int n = (blockIdx.x * tiles + place) * TILE_ROWS + part % 4 / 2 * 8 + g;
        if (m < outputs.rows && n < outputs.out) {
            outputs.put(BITS, m, n, sum);
        }
    }
}

// Entry points for blocks of so many TOKENS, of 32 by 8 threads.
#define PACKED_LINEAR(BITS, TOKENS)                                                                                         \
    KERNEL(WARP * PRODUCT_WARPS, packed_linear_##BITS##bit_##TOKENS, const Pack<unsigned>* codes, const signed char* x,    \
           const float* x_scales, const int* x_sums, const float* w_scales, const float* bias, float* y, int rows, int out, \
           int relu, int units, int splits) {                                                                               \
        packed_linear<BITS, TOKENS / 8>(codes, x, units, splits,                                                            \
                                        {x_scales, x_sums, w_scales, bias, y, rows, out, relu});                            \
    }

PACKED_LINEAR(1, 8)
PACKED_LINEAR(1, 16)
PACKED_LINEAR(1, 32)
PACKED_LINEAR(1, 64)
PACKED_LINEAR(2, 8)
PACKED_LINEAR(2, 16)
PACKED_LINEAR(2, 32)
PACKED_LINEAR(2, 64)

// matrix (out filled up to tiles, units * columns of a unit) = the codes as bytes. Each thread takes one of `count` packs.
KERNEL(256, unpack_codes, const Pack<unsigned>* codes, signed char* matrix, int bits, int units, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) {
        return;
    }
    Pack<unsigned> words = codes[i];
    int g = i % 8;
    int t = i / 8 % 4;
    int unit = i / WARP % units;
    int tile = i / WARP / units;
    unsigned mask = bits == 1 ? 0x01010101u : 0x03030303u;
    for (int slot = 0; slot < 8 / bits; slot++) {
        int row = tile * TILE_ROWS + slot % 2 * 8 + g;
        int column = unit * (256 / bits) + slot / 4 * 128 + t * 32 + slot / 2 % 2 * 16;
        Pack<unsigned> columns;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            columns.elements[j] = words.elements[j] >> bits * slot & mask;
        }
        *reinterpret_cast<Pack<unsigned>*>(matrix + (long long)row * units * (256 / bits) + column) = columns;
    }
}

// sums (rows, width), of which the first `out` columns count.
KERNEL(256, scale_products_f32, const int* sums, int width, int bits, const float* x_scales, const int* x_sums,
       const float* w_scales, const float* bias, float* y, int rows, int out, int relu) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)rows * out) {
        return;
    }
    int m = int(i / out);
    int n = int(i % out);
    Outputs{x_scales, x_sums, w_scales, bias, y, rows, out, relu}.put(bits, m, n, sums[(long long)m * width + n]);
}
