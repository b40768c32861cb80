// Causal self-attention in bfloat16 on the tensor cores, forward and backward, without a (T, T) matrix in memory (Dao,
// "FlashAttention-2", 2023). Sums, softmax and stats are float32; the weights and their gradients are rounded to bfloat16 for
// the products that they are factors of.
//
// A warp owns 16 rows (queries forward and in attention_grad_q, keys in attention_grad_kv), which stay in registers as
// operands, with their sums; a block owns 64. The rows of the other side pass by in tiles in shared memory: while one is
// multiplied, the next is copied. What lies behind the diagonal is not computed, and the blocks with most rows to pass come
// first, so that the last ones are short.
//
// Bound by instructions (softmax, dropout, feeding the tensor cores) and by memory, more than by the products: 4 S
// multiplications and additions a pair of a query and a key it sees, backward 14 S, as both kernels compute the weights again,
// which is what makes the gradients' sums free of atomics. Where a warp owns queries, a lane has the weights of eight
// neighbouring keys, about which one Philox block decides: forward and backward draw each block once, as attention_grad_q
// leaves the decisions for attention_grad_kv, a bit each.
//
// Estimate, not measured: B 64, T 256, H 6, S 64 with dropout on an H200 (132 SMs, 1.7 GHz, 4.3 TB/s) has 12.6 million pairs,
// 14 million with those that tiles add on the diagonal. For 128 pairs a warp takes about 120 instructions forward (Philox 28,
// softmax 30, products 8), 130 and 145 backward; reading shared memory for 64, 96 and 128 cycles of a scheduler, and the tensor
// cores at two thirds of their peak for 50, 75 and 100, go on meanwhile. 528 schedulers start an instruction a cycle: 15
// microseconds forward and 16 + 17 backward at best. Memory: 50 MB forward, 75 + 78 backward, or 12 and 18 + 18 microseconds,
// less what the next kernel still finds in the cache of 50 MB. By ptxas for sm_90 the three kernels take 125, 161 and 168
// registers, of which none is spilled, and 32 KB of shared memory: 4, 3 and 3 blocks share a multiprocessor.
#include "common/mma.cuh"
#include "common/pack.cuh"
#include "common/philox.cuh"

using bf16 = __nv_bfloat16;

constexpr int ROWS = 16;  // of a warp
constexpr int WARPS = 4;  // of a block
constexpr int OWN = WARPS * ROWS;
constexpr int THREADS = WARPS * WARP;
constexpr int KEYS = 32;  // that a warp takes at a time, where it owns queries
constexpr float LOG2_E = 1.44269504f;

// Packs of 8 elements in a row of S.
template <int S>
constexpr int PACKS = S / PACK<bf16>;

// Rows of a tile.
template <int S>
constexpr int TILE = S > 64 ? 32 : 64;

// Rows in shared memory: of one tile, and of the next; where that will come, the block's own rows are first.
template <int S>
constexpr int PLACES = TILE<S> + OWN;

template <int S>
using Row = uint4[PACKS<S>];

// Where a pack lies in its row: so that the same pack of eight rows that follow each other, which is what load_matrices
// reads, lies in all banks.
template <int S>
__device__ __forceinline__ int place(int row, int pack) {
    constexpr int WIDTH = PACKS<S> < 8 ? PACKS<S> : 8;
    return pack ^ (row * WIDTH / 8 % WIDTH);
}

// Where key j of a tile lies, if a lane is to get the scores of eight neighbours: of the scores (16, 8) with the rows 8 c on,
// lane 4 g + t has columns 2 t and 2 t + 1, which are keys 8 t + 2 c and 8 t + 2 c + 1.
__device__ __forceinline__ int row_of_key(int j) {
    return j / KEYS * KEYS + j % 8 / 2 * 8 + j % KEYS / 8 * 2 + j % 2;
}

// Starts to copy `count` rows of head_size elements, `stride` apart, into a tile of COUNT rows; what is missing of these and
// up to S becomes 0. `wide`: rows can be read 16 bytes at a time, and are whole packs.
template <int S, int COUNT, bool BY_KEY>
__device__ __forceinline__ void load_tile(Row<S>* tile, const bf16* rows, int count, long long stride, int head_size, bool wide) {
    int thread = threadIdx.y * WARP + threadIdx.x;
    int pack = thread % PACKS<S>;
    int left = head_size - pack * PACK<bf16>;
    auto target = [&](int row) {
        int to = BY_KEY ? row_of_key(row) : row;
        return &tile[to][place<S>(to, pack)];
    };
    constexpr int EACH = THREADS / PACKS<S>;  // rows at a time
    int first = thread / PACKS<S>;
    const bf16* from = rows + first * stride + pack * PACK<bf16>;
    if (wide) {
#pragma unroll
        for (int row = 0; row < COUNT; row += EACH) {
            copy_async(target(first + row), from + row * stride, first + row < count && left > 0);
        }
        return;
    }
#pragma unroll 1
    for (int row = 0; row < COUNT; row += EACH) {
        Pack<bf16> elements;
#pragma unroll
        for (int k = 0; k < PACK<bf16>; k++) {
            elements.elements[k] = first + row < count && k < left ? from[row * stride + k] : bf16(0.0f);
        }
        *target(first + row) = *reinterpret_cast<const uint4*>(&elements);
    }
}

// The warp's own rows as a left operand.
template <int S>
struct Own {
    unsigned operands[S / 16][4];

    __device__ void load(const Row<S>* tile) {
        int row = threadIdx.y * ROWS + threadIdx.x % 16;
#pragma unroll
        for (int k = 0; k < S / 16; k++) {
            load_matrices(operands[k], &tile[row][place<S>(row, 2 * k + int(threadIdx.x) / 16)]);
        }
    }
};

// products (16, 8 N) = own (16, S) times the transposed rows from `first` on of a tile.
template <int S, int N>
__device__ __forceinline__ void multiply(const Own<S>& own, const Row<S>* tile, int first, float (&products)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n++) {
        products[n][0] = products[n][1] = products[n][2] = products[n][3] = 0;
    }
    int lane = threadIdx.x;
#pragma unroll
    for (int k = 0; k < S / 16; k++) {
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            int row = first + n * 8 + lane / 16 * 8 + lane % 8;
            unsigned b[4];
            load_matrices(b, &tile[row][place<S>(row, 2 * k + lane / 8 % 2)]);
            mma_bf16(products[n], own.operands[k], b[0], b[1]);
            mma_bf16(products[n + 1], own.operands[k], b[2], b[3]);
        }
    }
}

__device__ __forceinline__ unsigned rounded(float low, float high) {
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&both);
}

// sums (16, S) += weights (16, 8 N), which multiply has laid out, times the rows from `first` on of a tile.
template <int S, int N>
__device__ __forceinline__ void accumulate(const float (&weights)[N][4], const Row<S>* tile, int first, float (&sums)[S / 8][4]) {
    int lane = threadIdx.x;
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        unsigned a[4] = {rounded(weights[n][0], weights[n][1]), rounded(weights[n][2], weights[n][3]),
                         rounded(weights[n + 1][0], weights[n + 1][1]), rounded(weights[n + 1][2], weights[n + 1][3])};
        int row = first + n * 8 + lane % 16;
#pragma unroll
        for (int c = 0; c < S / 8; c += 2) {
            unsigned b[4];
            load_transposed(b, &tile[row][place<S>(row, c + lane / 16)]);
            mma_bf16(sums[c], a, b[0], b[1]);
            mma_bf16(sums[c + 1], a, b[2], b[3]);
        }
    }
}

// Writes the warp's rows, of which `count` exist, times factors[0] (rows g) and factors[1] (rows g + 8). They are put
// together in shared memory, as much of it as a block owns rows, which nobody must be using.
template <int S>
__device__ __forceinline__ void store_rows(Row<S>* block, const float (&sums)[S / 8][4], const float (&factors)[2], bf16* rows,
                                           int count, long long stride, int head_size, bool wide) {
    Row<S>* tile = block + threadIdx.y * ROWS;
    int lane = threadIdx.x;
#pragma unroll
    for (int c = 0; c < S / 8; c++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = lane / 4 + 8 * half;
            reinterpret_cast<unsigned*>(&tile[row][place<S>(row, c)])[lane % 4] =
                rounded(sums[c][2 * half] * factors[half], sums[c][2 * half + 1] * factors[half]);
        }
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < ROWS * PACKS<S>; i += WARP) {
        int row = i / PACKS<S>;
        int pack = i % PACKS<S>;
        uint4 elements = tile[row][place<S>(row, pack)];
        int left = row < count ? head_size - pack * PACK<bf16> : 0;
        bf16* to = rows + row * stride + pack * PACK<bf16>;
        if (wide && left > 0) {
            *reinterpret_cast<uint4*>(to) = elements;
        } else {
#pragma unroll
            for (int k = 0; k < PACK<bf16>; k++) {
                if (k < left) {
                    to[k] = reinterpret_cast<const Pack<bf16>*>(&elements)->elements[k];
                }
            }
        }
    }
}

// Over the four lanes that share a row.
__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

// Where a block's rows lie. Block n of those that count from the one with most to do.
struct Block {
    int sequence;
    int head;
    int row;  // the block's first

    __device__ static Block of(int t, int heads, bool last_rows_first) {
        int tiles = (t + OWN - 1) / OWN;
        int each = gridDim.x / tiles;  // B H
        int tile = blockIdx.x / each;
        int index = blockIdx.x % each;
        return {index / heads, index % heads, (last_rows_first ? tiles - 1 - tile : tile) * OWN};
    }
};

// Scores (16, KEYS) of the queries from `first` on with the keys from j on: minus infinity for those that come later.
__device__ __forceinline__ void hide_later(float (&scores)[KEYS / 8][4], int first, int j) {
    if (j + KEYS - 1 <= first) {
        return;
    }
    int query = first + int(threadIdx.x) / 4;
    int key = j + int(threadIdx.x) % 4 * 8;
#pragma unroll
    for (int c = 0; c < KEYS / 8; c++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            if (key + 2 * c + e % 2 > query + e / 2 * 8) {
                scores[c][e] = -INFINITY;
            }
        }
    }
}

// out (B, T, H, S) of queries whose first stands at *position (null: 0) and sees the keys up to its own place. Rows of q lie
// q_stride elements apart, those of k and v kv_stride, and each sequence has kv_rows of the latter. stats (B, H, T, 2) or
// null: each row's largest score and 1 / denominator.
template <int S>
__device__ void attention(const bf16* q, const bf16* k, const bf16* v, bf16* out, float* stats, const int* position, int t,
                          int heads, int head_size, int q_stride, int kv_stride, int kv_rows, float scale,
                          long long first_sequence, const Dropout& dropout) {
    SHARED(uint4, keys, [PLACES<S>][PACKS<S>]);
    SHARED(uint4, values, [PLACES<S>][PACKS<S>]);
    Block block = Block::of(t, heads, true);
    int lane = threadIdx.x;
    int row = block.row + int(threadIdx.y) * ROWS;
    int own = t - row;  // rows of the warp that exist; may be 0 or less
    int offset = position == nullptr ? 0 : *position;
    int keys_seen = offset + min(block.row + OWN, t);               // by the block's last row
    int own_keys_seen = own > 0 ? offset + min(row + ROWS, t) : 0;  // by the warp's
    const bf16* first_q = q + ((long long)block.sequence * t + block.row) * q_stride + block.head * head_size;
    const bf16* first_k = k + (long long)block.sequence * kv_rows * kv_stride + block.head * head_size;
    const bf16* first_v = v + (long long)block.sequence * kv_rows * kv_stride + block.head * head_size;
    bf16* first_out = out + (((long long)block.sequence * t + row) * heads + block.head) * head_size;
    bool wide = is_wide(q) && is_wide(k) && is_wide(v) && is_wide(out) && q_stride % PACK<bf16> == 0
        && kv_stride % PACK<bf16> == 0 && head_size % PACK<bf16> == 0;
    // element of the dropout mask: (((first_sequence + b) * H + h) * T + i) * T + j
    unsigned long long mask_row =
        ((unsigned long long)(first_sequence + block.sequence) * heads + block.head) * t + row + lane / 4;

    auto fetch = [&](int j, int tile) {
        load_tile<S, TILE<S>, true>(keys + tile, first_k + (long long)j * kv_stride, keys_seen - j, kv_stride, head_size, wide);
        load_tile<S, TILE<S>, true>(values + tile, first_v + (long long)j * kv_stride, keys_seen - j, kv_stride, head_size,
                                    wide);
    };
    fetch(0, 0);
    load_tile<S, OWN, false>(keys + TILE<S>, first_q, t - block.row, q_stride, head_size, wide);
    copy_wait();
    __syncthreads();
    Own<S> queries;
    queries.load(keys + TILE<S>);
    // Row g of the lane, and row g + 8
    float max[2] = {-INFINITY, -INFINITY};
    float denominator[2] = {};
    float sums[S / 8][4] = {};
    float unit = scale * LOG2_E;
    int tile = 0;
    for (int j0 = 0; j0 < keys_seen; j0 += TILE<S>) {
        copy_wait();
        __syncthreads();  // this tile has come, and all have read the last one
        int next = j0 + TILE<S>;
        if (next < keys_seen) {
            fetch(next, TILE<S> - tile);
        }
        for (int j = j0; j < min(next, own_keys_seen); j += KEYS) {
            float weights[KEYS / 8][4];
            multiply<S>(queries, keys + tile, j - j0, weights);
            hide_later(weights, offset + row, j);
            float rescale[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float larger = max[half];
#pragma unroll
                for (int c = 0; c < KEYS / 8; c++) {
                    larger = fmaxf(larger, fmaxf(weights[c][2 * half], weights[c][2 * half + 1]));
                }
                larger = quad_max(larger);
                // while everything is minus infinity, weights are to be 0
                float shift = larger == -INFINITY ? 0.0f : larger * unit;
                rescale[half] = exp2_approx(max[half] * unit - shift);
                max[half] = larger;
                float sum = 0;
#pragma unroll
                for (int c = 0; c < KEYS / 8; c++) {
#pragma unroll
                    for (int e = 2 * half; e < 2 * half + 2; e++) {
                        weights[c][e] = exp2_approx(weights[c][e] * unit - shift);
                        sum += weights[c][e];
                    }
                }
                denominator[half] = denominator[half] * rescale[half] + sum;
            }
            if (__any_sync(ALL_LANES, rescale[0] != 1 || rescale[1] != 1)) {
#pragma unroll
                for (int c = 0; c < S / 8; c++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        sums[c][e] *= rescale[e / 2];
                    }
                }
            }
            if (dropout.active()) {
                uint4 halves[2];
                dropout.draw(mask_row * t + j + lane % 4 * 8, t, halves);
#pragma unroll
                for (int half = 0; half < 2; half++) {
#pragma unroll
                    for (int c = 0; c < KEYS / 8; c++) {
                        unsigned word = word_of(halves[half], c);
                        weights[c][2 * half] = dropout.keeps_low(word) ? weights[c][2 * half] : 0.0f;
                        weights[c][2 * half + 1] = dropout.keeps_high(word) ? weights[c][2 * half + 1] : 0.0f;
                    }
                }
            }
            accumulate<S>(weights, values + tile, j - j0, sums);
        }
        tile = TILE<S> - tile;
    }
    float factors[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float inverse = 1.0f / quad_sum(denominator[half]);
        factors[half] = inverse * dropout.scale;
        int g = lane / 4 + 8 * half;
        if (stats != nullptr && g < own && lane % 4 == 0) {
            float* stat = stats + (((long long)block.sequence * heads + block.head) * t + row + g) * 2;
            stat[0] = max[half] * scale;
            stat[1] = inverse;
        }
    }
    __syncthreads();  // all have read the last tile
    store_rows<S>(keys, sums, factors, first_out, own, (long long)heads * head_size, head_size, wide);
}

// Bytes that attention_grad_q writes for a query, a bit for each key that stays.
__device__ __forceinline__ int kept_bytes(int t) {
    return (t + KEYS - 1) / KEYS * (KEYS / 8);
}

// dq; and what attention_grad_kv needs of each query: rows (B, H, T, 2), the logarithm to base 2 of its denominator with the
// largest score in it, and sum(dout * out); kept (B, H, T, kept_bytes), which of its weights stay, where something is dropped.
// What stays is multiplied by the dropout's scale at the end: until then that sum and the scores' gradients are divided by it.
template <int S>
__device__ void attention_grad_q(const bf16* qkv, const bf16* out, const float* stats, const bf16* dout, bf16* dqkv,
                                 float2* rows, unsigned char* kept, int t, int heads, int head_size, float scale,
                                 long long first_sequence, const Dropout& dropout) {
    SHARED(uint4, keys, [PLACES<S>][PACKS<S>]);
    SHARED(uint4, values, [PLACES<S>][PACKS<S>]);
    Block block = Block::of(t, heads, true);
    int lane = threadIdx.x;
    int row = block.row + int(threadIdx.y) * ROWS;
    int own = t - row;
    int keys_seen = min(block.row + OWN, t);
    int own_keys_seen = own > 0 ? min(row + ROWS, t) : 0;
    int width = heads * head_size;
    int stride = 3 * width;
    const bf16* first = qkv + (long long)block.sequence * t * stride + block.head * head_size;
    long long first_out = ((long long)block.sequence * t + block.row) * width + block.head * head_size;
    long long stat_row = ((long long)block.sequence * heads + block.head) * t + row;
    bool wide = is_wide(qkv) && is_wide(out) && is_wide(dout) && is_wide(dqkv) && head_size % PACK<bf16> == 0;
    unsigned long long mask_row =
        ((unsigned long long)(first_sequence + block.sequence) * heads + block.head) * t + row + lane / 4;

    auto fetch = [&](int j, int tile) {
        const bf16* rest = first + (long long)j * stride;
        load_tile<S, TILE<S>, true>(keys + tile, rest + width, keys_seen - j, stride, head_size, wide);
        load_tile<S, TILE<S>, true>(values + tile, rest + 2 * width, keys_seen - j, stride, head_size, wide);
    };
    fetch(0, 0);
    const bf16* first_own = first + (long long)block.row * stride;
    load_tile<S, OWN, false>(keys + TILE<S>, first_own, t - block.row, stride, head_size, wide);
    load_tile<S, OWN, false>(values + TILE<S>, dout + first_out, t - block.row, width, head_size, wide);
    // Two lanes a row, with every other pack each
    float product = 0;
    for (int pack = lane % 2; pack * PACK<bf16> < head_size && lane / 2 < own; pack += 2) {
        long long at = first_out + (long long)(row - block.row + lane / 2) * width + pack * PACK<bf16>;
        int left = head_size - pack * PACK<bf16>;
        float x[PACK<bf16>];
        float dx[PACK<bf16>];
        load(out + at, left, wide, x);
        load(dout + at, left, wide, dx);
#pragma unroll
        for (int k = 0; k < PACK<bf16>; k++) {
            product += x[k] * dx[k];
        }
    }
    product += __shfl_xor_sync(ALL_LANES, product, 1);
    float denominator[2];
    float row_sum[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int g = lane / 4 + 8 * half;
        bool exists = g < own;
        denominator[half] = exists ? stats[(stat_row + g) * 2] * LOG2_E - log2f(stats[(stat_row + g) * 2 + 1]) : 0.0f;
        row_sum[half] = __shfl_sync(ALL_LANES, product, 2 * g) / dropout.scale;
        if (exists && lane % 4 == 0) {
            rows[stat_row + g] = make_float2(denominator[half], row_sum[half]);
        }
    }
    copy_wait();
    __syncthreads();
    Own<S> queries;
    Own<S> grads;
    queries.load(keys + TILE<S>);
    grads.load(values + TILE<S>);
    float sums[S / 8][4] = {};
    float unit = scale * LOG2_E;
    int tile = 0;
    for (int j0 = 0; j0 < keys_seen; j0 += TILE<S>) {
        copy_wait();
        __syncthreads();
        int next = j0 + TILE<S>;
        if (next < keys_seen) {
            fetch(next, TILE<S> - tile);
        }
        for (int j = j0; j < min(next, own_keys_seen); j += KEYS) {
            float dscores[KEYS / 8][4];
            float dweights[KEYS / 8][4];
            multiply<S>(queries, keys + tile, j - j0, dscores);
            multiply<S>(grads, values + tile, j - j0, dweights);
            hide_later(dscores, row, j);
            if (dropout.active()) {
                uint4 halves[2];
                dropout.draw(mask_row * t + j + lane % 4 * 8, t, halves);
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    unsigned bits = 0;
#pragma unroll
                    for (int c = 0; c < KEYS / 8; c++) {
                        unsigned word = word_of(halves[half], c);
                        bool low = dropout.keeps_low(word);
                        bool high = dropout.keeps_high(word);
                        bits |= unsigned(low) << 2 * c | unsigned(high) << (2 * c + 1);
                        dweights[c][2 * half] = low ? dweights[c][2 * half] : 0.0f;
                        dweights[c][2 * half + 1] = high ? dweights[c][2 * half + 1] : 0.0f;
                    }
                    int g = lane / 4 + 8 * half;
                    if (g < own) {
                        kept[(stat_row + g) * kept_bytes(t) + j / 8 + lane % 4] = (unsigned char)bits;
                    }
                }
            }
#pragma unroll
            for (int c = 0; c < KEYS / 8; c++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float weight = exp2_approx(dscores[c][e] * unit - denominator[e / 2]);
                    dscores[c][e] = weight * (dweights[c][e] - row_sum[e / 2]);
                }
            }
            accumulate<S>(dscores, keys + tile, j - j0, sums);
        }
        tile = TILE<S> - tile;
    }
    __syncthreads();
    float factors[2] = {scale * dropout.scale, scale * dropout.scale};
    store_rows<S>(keys, sums, factors, dqkv + ((long long)block.sequence * t + row) * stride + block.head * head_size, own,
                  stride, head_size, wide);
}

// dk and dv. The warp owns keys; queries, from its first key on, pass by, 16 at a time. kept: null where nothing is dropped.
template <int S>
__device__ void attention_grad_kv(const bf16* qkv, const bf16* dout, const float2* rows, const unsigned char* kept, bf16* dqkv,
                                  int t, int heads, int head_size, float scale, float dropout_scale) {
    SHARED(uint4, queries, [PLACES<S>][PACKS<S>]);
    SHARED(uint4, grads, [PLACES<S>][PACKS<S>]);
    Block block = Block::of(t, heads, false);
    int lane = threadIdx.x;
    int row = block.row + int(threadIdx.y) * ROWS;
    int own = t - row;
    int width = heads * head_size;
    int stride = 3 * width;
    const bf16* first = qkv + (long long)block.sequence * t * stride + block.head * head_size;
    const bf16* first_grad = dout + (long long)block.sequence * t * width + block.head * head_size;
    long long stat_row = ((long long)block.sequence * heads + block.head) * t;
    bool wide = is_wide(qkv) && is_wide(dout) && is_wide(dqkv) && head_size % PACK<bf16> == 0;

    auto fetch = [&](int i, int tile) {
        load_tile<S, TILE<S>, false>(queries + tile, first + (long long)i * stride, t - i, stride, head_size, wide);
        load_tile<S, TILE<S>, false>(grads + tile, first_grad + (long long)i * width, t - i, width, head_size, wide);
    };
    fetch(block.row, 0);
    const bf16* first_own = first + (long long)block.row * stride + width;
    load_tile<S, OWN, false>(queries + TILE<S>, first_own, t - block.row, stride, head_size, wide);
    load_tile<S, OWN, false>(grads + TILE<S>, first_own + width, t - block.row, stride, head_size, wide);
    copy_wait();
    __syncthreads();
    Own<S> keys;
    Own<S> values;
    keys.load(queries + TILE<S>);
    values.load(grads + TILE<S>);
    float dk[S / 8][4] = {};
    float dv[S / 8][4] = {};
    float unit = scale * LOG2_E;
    int tile = 0;
    for (int i0 = block.row; i0 < t; i0 += TILE<S>) {
        copy_wait();
        __syncthreads();
        int next = i0 + TILE<S>;
        if (next < t) {
            fetch(next, TILE<S> - tile);
        }
        for (int i = max(i0, row); i < min(next, t); i += ROWS) {
            // Of the four queries whose columns the lane has. Beyond the last one, scores and gradients are 0.
            float2 query[2][2];
            unsigned bits[2][2];
#pragma unroll
            for (int c = 0; c < 2; c++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    int at = i + 8 * c + lane % 4 * 2 + e;
                    long long existing = stat_row + min(at, t - 1);
                    query[c][e] = rows[existing];
                    query[c][e].x = at < t ? query[c][e].x : 0.0f;
                    query[c][e].y = at < t ? query[c][e].y : 0.0f;
                    bits[c][e] = 0xffff;
                    if (kept != nullptr) {
                        bits[c][e] = *reinterpret_cast<const unsigned short*>(kept + existing * kept_bytes(t) + row / 8);
                    }
                }
            }
            float weights[2][4];
            float dscores[2][4];
            multiply<S>(keys, queries + tile, i - i0, weights);
            multiply<S>(values, grads + tile, i - i0, dscores);
            if (i == row) {
#pragma unroll
                for (int c = 0; c < 2; c++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        if (lane / 4 + e / 2 * 8 > 8 * c + lane % 4 * 2 + e % 2) {  // the key comes after the query
                            weights[c][e] = -INFINITY;
                        }
                    }
                }
            }
#pragma unroll
            for (int c = 0; c < 2; c++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float weight = exp2_approx(weights[c][e] * unit - query[c][e % 2].x);
                    bool stays = bits[c][e % 2] >> (lane / 4 + e / 2 * 8) & 1;
                    weights[c][e] = stays ? weight : 0.0f;
                    dscores[c][e] = weight * ((stays ? dscores[c][e] : 0.0f) - query[c][e % 2].y);
                }
            }
            accumulate<S>(weights, grads + tile, i - i0, dv);
            accumulate<S>(dscores, queries + tile, i - i0, dk);
        }
        tile = TILE<S> - tile;
    }
    __syncthreads();
    bf16* first_dk = dqkv + ((long long)block.sequence * t + row) * stride + width + block.head * head_size;
    float of_keys[2] = {scale * dropout_scale, scale * dropout_scale};
    float of_values[2] = {dropout_scale, dropout_scale};
    store_rows<S>(queries, dk, of_keys, first_dk, own, stride, head_size, wide);
    __syncwarp();
    store_rows<S>(queries, dv, of_values, first_dk + width, own, stride, head_size, wide);
}

// Attention of few new tokens at *position to themselves and to those in the cache (B, context, 2 A). A block has one query
// of one head. New keys and values come from qkv (B, t, 3 A), so that no block waits for another; each block leaves those of
// its own token in the cache. Bound by the latency of memory: S / 8 lanes have a key, all warps of the block share the keys.
constexpr int CACHED_WARPS = 8;
constexpr int AT_ONCE = 4;  // keys that a lane waits for together

// Sums of weights and of weighted values, whose scores are taken relative to the largest so far.
struct Weighted {
    float max;
    float denominator;
    float sums[PACK<bf16>];

    // Makes `larger` what scores are relative to.
    __device__ void raise(float larger) {
        float rescale = exp2_approx(max - (larger == -INFINITY ? 0.0f : larger));
        max = larger;
        denominator *= rescale;
#pragma unroll
        for (int d = 0; d < PACK<bf16>; d++) {
            sums[d] *= rescale;
        }
    }
};

template <int S>
__device__ void attention_cached(const bf16* qkv, bf16* cache, const int* position, bf16* out, int t, int context, int heads,
                                 int head_size, float scale) {
    constexpr int LANES = PACKS<S>;         // of a key
    constexpr int GROUPS = WARP / LANES;    // keys of a warp
    SHARED(float, maxima, [CACHED_WARPS]);
    SHARED(float, denominators, [CACHED_WARPS]);
    SHARED(float, parts, [CACHED_WARPS][S]);
    int head = blockIdx.x % heads;
    int row = blockIdx.x / heads;  // of (B, t)
    int sequence = row / t;
    int width = heads * head_size;
    int lane = threadIdx.x;
    int warp = threadIdx.y;
    int column = lane % LANES * PACK<bf16>;
    int left = head_size - column;
    int begin = *position;
    int last = begin + row % t;  // the key that belongs to the query
    bool wide = is_wide(qkv) && is_wide(cache) && is_wide(out) && head_size % PACK<bf16> == 0;
    const bf16* first_new = qkv + (long long)sequence * t * 3 * width + head * head_size + column;
    bf16* first_cached = cache + (long long)sequence * context * 2 * width + head * head_size + column;

    float query[PACK<bf16>];
    load(first_new + (long long)(row % t) * 3 * width, left, wide, query);
    Weighted own = {-INFINITY, 0, {}};
    for (int first = warp * GROUPS; first <= last; first += AT_ONCE * CACHED_WARPS * GROUPS) {
        float keys[AT_ONCE][PACK<bf16>];
        float values[AT_ONCE][PACK<bf16>];
        float scores[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            int j = first + k * CACHED_WARPS * GROUPS + lane / LANES;
            const bf16* key = j < begin ? first_cached + (long long)j * 2 * width
                                        : first_new + (long long)(j - begin) * 3 * width + width;
            int exist = j <= last ? left : 0;
            load(key, exist, wide, keys[k]);
            load(key + width, exist, wide, values[k]);
        }
        float larger = own.max;
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            int j = first + k * CACHED_WARPS * GROUPS + lane / LANES;
            float score = 0;
#pragma unroll
            for (int d = 0; d < PACK<bf16>; d++) {
                score += query[d] * keys[k][d];
            }
#pragma unroll
            for (int offset = LANES / 2; offset > 0; offset /= 2) {
                score += __shfl_xor_sync(ALL_LANES, score, offset);
            }
            scores[k] = j <= last ? score * (scale * LOG2_E) : -INFINITY;
            larger = fmaxf(larger, scores[k]);
            if (j == last) {
                bf16* key = first_cached + (long long)last * 2 * width;
                store(key, left, wide, keys[k]);
                store(key + width, left, wide, values[k]);
            }
        }
        own.raise(larger);
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            float weight = exp2_approx(scores[k] - (larger == -INFINITY ? 0.0f : larger));
            own.denominator += weight;
#pragma unroll
            for (int d = 0; d < PACK<bf16>; d++) {
                own.sums[d] += weight * values[k][d];
            }
        }
    }
    // The groups of a warp, then the warps
    float larger = own.max;
#pragma unroll
    for (int offset = LANES; offset < WARP; offset *= 2) {
        larger = fmaxf(larger, __shfl_xor_sync(ALL_LANES, larger, offset));
    }
    own.raise(larger);
#pragma unroll
    for (int offset = LANES; offset < WARP; offset *= 2) {
        own.denominator += __shfl_xor_sync(ALL_LANES, own.denominator, offset);
#pragma unroll
        for (int d = 0; d < PACK<bf16>; d++) {
            own.sums[d] += __shfl_xor_sync(ALL_LANES, own.sums[d], offset);
        }
    }
    if (lane < LANES) {
#pragma unroll
        for (int d = 0; d < PACK<bf16>; d++) {
            parts[warp][column + d] = own.sums[d];
        }
    }
    if (lane == 0) {
        maxima[warp] = own.max;
        denominators[warp] = own.denominator;
    }
    __syncthreads();
    int d = warp * WARP + lane;
    if (d < head_size) {
        float largest = maxima[0];
        for (int i = 1; i < CACHED_WARPS; i++) {
            largest = fmaxf(largest, maxima[i]);
        }
        float shift = largest == -INFINITY ? 0.0f : largest;
        float denominator = 0;
        float sum = 0;
        for (int i = 0; i < CACHED_WARPS; i++) {
            float weight = exp2_approx(maxima[i] - shift);
            denominator += denominators[i] * weight;
            sum += parts[i][d] * weight;
        }
        out[((long long)row * heads + head) * head_size + d] = bf16(sum / denominator);
    }
}

// Entry points for heads of up to S channels: blocks of (WARP, WARPS), attention_cached of (WARP, CACHED_WARPS).
#define ATTENTION(S)                                                                                                       \
    KERNEL_SHARING(THREADS, S > 64 ? 2 : 4, attention_bf16_##S, const bf16* q, const bf16* k, const bf16* v, bf16* out,     \
                   float* stats, const int* position, int t, int heads, int head_size, int q_stride, int kv_stride,         \
                   int kv_rows, float scale, long long first_sequence, unsigned long long seed, int purpose,                \
                   const int* step, int threshold, float dropout_scale) {                                                   \
        attention<S>(q, k, v, out, stats, position, t, heads, head_size, q_stride, kv_stride, kv_rows, scale,               \
                     first_sequence, make_dropout(seed, purpose, step, threshold, dropout_scale));                          \
    }                                                                                                                       \
    KERNEL_SHARING(THREADS, S > 64 ? 2 : 3, attention_grad_q_bf16_##S, const bf16* qkv, const bf16* out,                    \
                   const float* stats, const bf16* dout, bf16* dqkv, float2* rows, unsigned char* kept, int t, int heads,   \
                   int head_size, float scale, long long first_sequence, unsigned long long seed, int purpose,              \
                   const int* step, int threshold, float dropout_scale) {                                                   \
        attention_grad_q<S>(qkv, out, stats, dout, dqkv, rows, kept, t, heads, head_size, scale, first_sequence,            \
                            make_dropout(seed, purpose, step, threshold, dropout_scale));                                   \
    }                                                                                                                       \
    KERNEL_SHARING(THREADS, S > 64 ? 2 : 3, attention_grad_kv_bf16_##S, const bf16* qkv, const bf16* dout,                  \
                   const float2* rows, const unsigned char* kept, bf16* dqkv, int t, int heads, int head_size, float scale, \
                   float dropout_scale) {                                                                                   \
        attention_grad_kv<S>(qkv, dout, rows, kept, dqkv, t, heads, head_size, scale, dropout_scale);                       \
    }                                                                                                                       \
    KERNEL(WARP * CACHED_WARPS, attention_cached_bf16_##S, const bf16* qkv, bf16* cache, const int* position, bf16* out,    \
           int t, int context, int heads, int head_size, float scale) {                                                     \
        attention_cached<S>(qkv, cache, position, out, t, context, heads, head_size, scale);                                \
    }

ATTENTION(16)
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)
