// Causal self-attention, forward and backward, without a (T, T) matrix in memory (Dao et al., "FlashAttention", 2022).
//
// Bound by arithmetic: 4 S multiplications and additions for each pair of a query and a key it sees (backward: 14 S, since
// both kernels compute the weights again, which is what makes the gradients' sums free of atomics). Memory: queries, keys and
// values read once from memory, then from the cache, by each block; the output written once.
//
// A warp owns ROWS rows (queries forward, queries or keys backward), a block WARPS of them. The rows of the other side pass
// by in tiles of WARP, kept in shared memory for all warps of the block: in scores, a lane is a row of the tile; in what the
// scores are then multiplied with, a lane is a channel.
#include "common/pack.cuh"
#include "common/philox.cuh"

constexpr int ROWS = 4;  // CudaBackend divides rows among warps by this and by WARPS

// Warps of a block: as many as their rows fit into 48 KB of shared memory beside two tiles.
template <int S>
constexpr int WARPS = S > 64 ? 2 : 4;

// Channels of a row that a lane holds.
template <int S>
constexpr int CHANNELS = (S + WARP - 1) / WARP;

// Where a block's tile of its own rows lies: blocks of one head are neighbours.
struct Place {
    int batch;
    int head;
    int row;  // the warp's first

    __device__ static Place of(int rows, int heads, int& block_row) {
        int warps = blockDim.y;
        int tiles = (rows + ROWS * warps - 1) / (ROWS * warps);
        int index = blockIdx.x / tiles;
        block_row = int(blockIdx.x % tiles) * ROWS * warps;
        return {index / heads, index % heads, block_row + int(threadIdx.y) * ROWS};
    }
};

// Copies `count` rows of head_size elements, `stride` apart, into a tile; what is missing up to S becomes 0. Nobody looks at
// the rows beyond.
template <typename T, int S>
__device__ __forceinline__ void load_tile(float (&tile)[WARP][S + 1], const T* rows, int count, long long stride,
                                          int head_size) {
    int thread = threadIdx.y * WARP + threadIdx.x;
    for (int i = thread; i < count * S; i += blockDim.y * WARP) {
        int row = i / S;
        int d = i % S;
        tile[row][d] = d < head_size ? float(rows[row * stride + d]) : 0.0f;
    }
}

// The same for the rows that a warp owns.
template <typename T, int S>
__device__ __forceinline__ void load_rows(float (&own)[ROWS][S], const T* rows, int count, long long stride, int head_size,
                                          float scale) {
    for (int i = threadIdx.x; i < ROWS * S; i += WARP) {
        int row = i / S;
        int d = i % S;
        own[row][d] = row < count && d < head_size ? float(rows[row * stride + d]) * scale : 0.0f;
    }
}

// The scores of a warp's rows with the lane's row of a tile, 0 for lanes beyond the tile's end.
template <int S>
__device__ __forceinline__ void multiply(const float (&own)[ROWS][S], const float (&tile)[WARP][S + 1], int count,
                                         float (&scores)[ROWS]) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        scores[r] = 0;
    }
    if (int(threadIdx.x) >= count) {
        return;
    }
#pragma unroll 8
    for (int d = 0; d < S; d++) {
        float x = tile[threadIdx.x][d];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            scores[r] += own[r][d] * x;
        }
    }
}

// sums (ROWS, S) += weights (ROWS, count of the tile's rows) * tile; a lane holds every WARP-th channel.
template <int S>
__device__ __forceinline__ void accumulate(const float (&weights)[ROWS][WARP], const float (&tile)[WARP][S + 1], int count,
                                           float (&sums)[ROWS][CHANNELS<S>]) {
    for (int j = 0; j < count; j++) {
#pragma unroll
        for (int k = 0; k < CHANNELS<S>; k++) {
            int d = k * WARP + int(threadIdx.x);
            if (S >= WARP || d < S) {
                float x = tile[j][d];
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    sums[r][k] += weights[r][j] * x;
                }
            }
        }
    }
}

template <typename T, int S>
__device__ __forceinline__ void store_row(T* row, const float (&values)[CHANNELS<S>], float scale, int head_size) {
#pragma unroll
    for (int k = 0; k < CHANNELS<S>; k++) {
        int d = k * WARP + int(threadIdx.x);
        if (d < head_size) {
            row[d] = T(values[k] * scale);
        }
    }
}

// Dropout factors of ROWS x WARP weights, of which row r begins at element first[r]. Lanes draw the blocks that the rows
// touch, five each at most, and share them.
struct Factors {
    uint4 blocks[ROWS][WARP / 8 + 1];

    __device__ void draw(const Dropout& dropout, unsigned long long first, unsigned long long stride) {
        int lane = threadIdx.x;
        if (lane < ROWS * (WARP / 8 + 1)) {
            int row = lane / (WARP / 8 + 1);
            int block = lane % (WARP / 8 + 1);
            blocks[row][block] = philox(dropout.stream, ((first + row * stride) >> 3) + block);
        }
        __syncwarp();
    }

    __device__ float get(const Dropout& dropout, unsigned long long first, unsigned long long stride, int row) const {
        unsigned long long e = first + row * stride + threadIdx.x;
        return dropout.factor(blocks[row][int((e >> 3) - ((first + row * stride) >> 3))], int(e & 7));
    }
};

// out (B, T, H, S) of queries whose first stands at *position (null: 0) and sees the keys up to its own place. Rows of q lie
// q_stride elements apart, those of k and v kv_stride, and each sequence has kv_rows of the latter. stats (B, H, T, 2) or
// null: each row's largest score and 1 / denominator.
template <typename T, int S>
__device__ void attention(const T* q, const T* k, const T* v, T* out, float* stats, const int* position, int t, int heads,
                          int head_size, int q_stride, int kv_stride, int kv_rows, float scale, long long first_sequence,
                          const Dropout& dropout) {
    SHARED(float, keys, [WARP][S + 1]);
    SHARED(float, values, [WARP][S + 1]);
    SHARED(float, queries, [WARPS<S>][ROWS][S]);
    SHARED(float, weights, [WARPS<S>][ROWS][WARP]);
    SHARED(Factors, factors, [WARPS<S>]);
    int block_row;
    Place place = Place::of(t, heads, block_row);
    int lane = threadIdx.x;
    int warp = threadIdx.y;
    int offset = position == nullptr ? 0 : *position;
    int own = t - place.row;  // rows of the warp that exist; may be 0 or less
    const T* first_q = q + ((long long)place.batch * t + place.row) * q_stride + place.head * head_size;
    const T* first_k = k + (long long)place.batch * kv_rows * kv_stride + place.head * head_size;
    const T* first_v = v + (long long)place.batch * kv_rows * kv_stride + place.head * head_size;
    // element of the dropout mask: (((first_sequence + b) * H + h) * T + i) * T + j
    unsigned long long mask_row =
        ((unsigned long long)(first_sequence + place.batch) * heads + place.head) * t + place.row;

    load_rows<T, S>(queries[warp], first_q, own, q_stride, head_size, scale);
    float max[ROWS];
    float denominator[ROWS];
    float sums[ROWS][CHANNELS<S>] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        max[r] = -INFINITY;
        denominator[r] = 0;
    }
    int last_row = block_row + ROWS * int(blockDim.y) < t ? block_row + ROWS * int(blockDim.y) : t;
    int keys_seen = offset + last_row;  // by the block's last row
    for (int j0 = 0; j0 < keys_seen; j0 += WARP) {
        int count = keys_seen - j0 < WARP ? keys_seen - j0 : WARP;
        __syncthreads();  // the last tile has been read
        load_tile<T, S>(keys, first_k + (long long)j0 * kv_stride, count, kv_stride, head_size);
        load_tile<T, S>(values, first_v + (long long)j0 * kv_stride, count, kv_stride, head_size);
        __syncthreads();
        float scores[ROWS];
        multiply<S>(queries[warp], keys, count, scores);
        if (dropout.active()) {
            factors[warp].draw(dropout, mask_row * t + j0, t);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            bool seen = j0 + lane <= offset + place.row + r && j0 + lane < keys_seen;
            float score = seen ? scores[r] : -INFINITY;
            float larger = fmaxf(max[r], warp_max(score));
            float rescale = max[r] == -INFINITY ? 0.0f : expf(max[r] - larger);
            float weight = !seen || score == -INFINITY ? 0.0f : expf(score - larger);
            denominator[r] = denominator[r] * rescale + weight;
            max[r] = larger;
#pragma unroll
            for (int c = 0; c < CHANNELS<S>; c++) {
                sums[r][c] *= rescale;
            }
            if (dropout.active()) {
                weight *= factors[warp].get(dropout, mask_row * t + j0, t, r);
            }
            weights[warp][r][lane] = weight;
        }
        __syncwarp();
        accumulate<S>(weights[warp], values, count, sums);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float total = warp_sum(denominator[r]);
        float inverse = 1.0f / total;
        if (r < own) {
            store_row<T, S>(out + (((long long)place.batch * t + place.row + r) * heads + place.head) * head_size, sums[r],
                            inverse, head_size);
            if (stats != nullptr && lane == 0) {
                float* stat = stats + (((long long)place.batch * heads + place.head) * t + place.row + r) * 2;
                stat[0] = max[r];
                stat[1] = inverse;
            }
        }
    }
}

// dq, and rows (B, H, T) = sum(dout * out), which attention_grad_kv needs.
template <typename T, int S>
__device__ void attention_grad_q(const T* qkv, const T* out, const float* stats, const T* dout, T* dqkv, float* rows, int t,
                                 int heads, int head_size, float scale, long long first_sequence, const Dropout& dropout) {
    SHARED(float, keys, [WARP][S + 1]);
    SHARED(float, values, [WARP][S + 1]);
    SHARED(float, queries, [WARPS<S>][ROWS][S]);
    SHARED(float, grads, [WARPS<S>][ROWS][S]);
    SHARED(float, weights, [WARPS<S>][ROWS][WARP]);
    SHARED(Factors, factors, [WARPS<S>]);
    int block_row;
    Place place = Place::of(t, heads, block_row);
    int lane = threadIdx.x;
    int warp = threadIdx.y;
    int own = t - place.row;
    int width = heads * head_size;
    int stride = 3 * width;
    const T* first = qkv + (long long)place.batch * t * stride + place.head * head_size;
    long long out_row = ((long long)place.batch * t + place.row) * width + place.head * head_size;
    long long stat_row = ((long long)place.batch * heads + place.head) * t + place.row;
    unsigned long long mask_row =
        ((unsigned long long)(first_sequence + place.batch) * heads + place.head) * t + place.row;

    load_rows<T, S>(queries[warp], first + (long long)place.row * stride, own, stride, head_size, scale);
    load_rows<T, S>(grads[warp], dout + out_row, own, width, head_size, 1);
    if constexpr (S < WARP) {
        __syncwarp();  // else each lane reads what it has loaded itself
    }
    float max[ROWS];
    float inverse[ROWS];
    float row_sums[ROWS];
    float sums[ROWS][CHANNELS<S>] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        bool exists = r < own;
        max[r] = exists ? stats[(stat_row + r) * 2] : 0;
        inverse[r] = exists ? stats[(stat_row + r) * 2 + 1] : 0;
        float product = 0;
        for (int d = lane; exists && d < head_size; d += WARP) {
            product += grads[warp][r][d] * float(out[out_row + (long long)r * width + d]);
        }
        row_sums[r] = warp_sum(product);
        if (exists && lane == 0) {
            rows[stat_row + r] = row_sums[r];
        }
    }
    int keys_seen = block_row + ROWS * int(blockDim.y) < t ? block_row + ROWS * int(blockDim.y) : t;
    for (int j0 = 0; j0 < keys_seen; j0 += WARP) {
        int count = keys_seen - j0 < WARP ? keys_seen - j0 : WARP;
        __syncthreads();
        load_tile<T, S>(keys, first + width + (long long)j0 * stride, count, stride, head_size);
        load_tile<T, S>(values, first + 2 * width + (long long)j0 * stride, count, stride, head_size);
        __syncthreads();
        float scores[ROWS];
        float dweights[ROWS];
        multiply<S>(queries[warp], keys, count, scores);
        multiply<S>(grads[warp], values, count, dweights);
        if (dropout.active()) {
            factors[warp].draw(dropout, mask_row * t + j0, t);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            bool seen = j0 + lane <= place.row + r && j0 + lane < keys_seen && r < own;
            float factor = dropout.active() ? factors[warp].get(dropout, mask_row * t + j0, t, r) : 1.0f;
            float weight = expf(scores[r] - max[r]) * inverse[r];
            weights[warp][r][lane] = seen ? weight * (dweights[r] * factor - row_sums[r]) : 0.0f;
        }
        __syncwarp();
        accumulate<S>(weights[warp], keys, count, sums);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < own) {
            store_row<T, S>(dqkv + ((long long)place.batch * t + place.row + r) * stride + place.head * head_size, sums[r],
                            scale, head_size);
        }
    }
}

// dk and dv. The warp owns keys; queries, from the block's first key on, pass by.
template <typename T, int S>
__device__ void attention_grad_kv(const T* qkv, const float* stats, const T* dout, const float* rows, T* dqkv, int t,
                                  int heads, int head_size, float scale, long long first_sequence,
                                  const Dropout& dropout) {
    SHARED(float, queries, [WARP][S + 1]);
    SHARED(float, grads, [WARP][S + 1]);
    SHARED(float, keys, [WARPS<S>][ROWS][S]);
    SHARED(float, values, [WARPS<S>][ROWS][S]);
    SHARED(float, weights, [WARPS<S>][ROWS][WARP]);
    SHARED(float, dscores, [WARPS<S>][ROWS][WARP]);
    int block_row;
    Place place = Place::of(t, heads, block_row);
    int lane = threadIdx.x;
    int warp = threadIdx.y;
    int own = t - place.row;
    int width = heads * head_size;
    int stride = 3 * width;
    const T* first = qkv + (long long)place.batch * t * stride + place.head * head_size;
    const T* first_grad = dout + (long long)place.batch * t * width + place.head * head_size;
    long long stat_row = ((long long)place.batch * heads + place.head) * t;
    unsigned long long mask_row = ((unsigned long long)(first_sequence + place.batch) * heads + place.head) * t;

    load_rows<T, S>(keys[warp], first + width + (long long)place.row * stride, own, stride, head_size, scale);
    load_rows<T, S>(values[warp], first + 2 * width + (long long)place.row * stride, own, stride, head_size, 1);
    float dk[ROWS][CHANNELS<S>] = {};
    float dv[ROWS][CHANNELS<S>] = {};
    for (int i0 = block_row / WARP * WARP; i0 < t; i0 += WARP) {
        int count = t - i0 < WARP ? t - i0 : WARP;
        __syncthreads();
        load_tile<T, S>(queries, first + (long long)i0 * stride, count, stride, head_size);
        load_tile<T, S>(grads, first_grad + (long long)i0 * width, count, width, head_size);
        __syncthreads();
        bool exists = i0 + lane < t;
        float max = exists ? stats[(stat_row + i0 + lane) * 2] : 0;
        float inverse = exists ? stats[(stat_row + i0 + lane) * 2 + 1] : 0;
        float row_sum = exists ? rows[stat_row + i0 + lane] : 0;
        float scores[ROWS];
        float dweights[ROWS];
        multiply<S>(keys[warp], queries, count, scores);
        multiply<S>(values[warp], grads, count, dweights);
        float factors[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            factors[r] = 1;
        }
        if (dropout.active()) {
            apply(dropout, (mask_row + i0 + lane) * t + place.row, factors);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            bool seen = exists && place.row + r <= i0 + lane && r < own;
            float weight = expf(scores[r] - max) * inverse;
            weights[warp][r][lane] = seen ? weight * factors[r] : 0.0f;
            dscores[warp][r][lane] = seen ? weight * (dweights[r] * factors[r] - row_sum) : 0.0f;
        }
        __syncwarp();
        accumulate<S>(weights[warp], grads, count, dv);
        accumulate<S>(dscores[warp], queries, count, dk);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < own) {
            T* row = dqkv + ((long long)place.batch * t + place.row + r) * stride + place.head * head_size;
            store_row<T, S>(row + width, dk[r], scale, head_size);
            store_row<T, S>(row + 2 * width, dv[r], 1, head_size);
        }
    }
}

// Puts the keys and values of qkv (B, t, 3A) into the cache (B, context, 2A) from row *position on. A thread an element.
template <typename T>
__device__ void append(const T* qkv, T* cache, const int* position, int batch, int t, int context, int width) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)batch * t * 2 * width) {
        return;
    }
    int column = int(i % (2 * width));
    long long row = i / (2 * width);
    long long target = row / t * context + *position + row % t;
    cache[target * 2 * width + column] = qkv[row * 3 * width + width + column];
}

KERNEL(256, append_f32, const float* qkv, float* cache, const int* position, int batch, int t, int context, int width) {
    append(qkv, cache, position, batch, t, context, width);
}
KERNEL(256, append_bf16, const __nv_bfloat16* qkv, __nv_bfloat16* cache, const int* position, int batch, int t, int context,
       int width) {
    append(qkv, cache, position, batch, t, context, width);
}

// Entry points for heads of up to S channels: blocks of (WARP, up to WARPS<S>).
#define ATTENTION(S)                                                                                                      \
    KERNEL(WARP * WARPS<S>, attention_f32_##S, const float* q, const float* k, const float* v, float* out, float* stats, \
           const int* position, int t, int heads, int head_size, int q_stride, int kv_stride, int kv_rows, float scale,  \
           long long first_sequence, unsigned long long seed, int purpose, const int* step, int threshold,               \
           float dropout_scale) {                                                                                        \
        attention<float, S>(q, k, v, out, stats, position, t, heads, head_size, q_stride, kv_stride, kv_rows, scale,     \
                            first_sequence, make_dropout(seed, purpose, step, threshold, dropout_scale));                \
    }                                                                                                                    \
    KERNEL(WARP * WARPS<S>, attention_grad_q_f32_##S, const float* qkv, const float* out, const float* stats,            \
           const float* dout, float* dqkv, float* rows, int t, int heads, int head_size, float scale,                    \
           long long first_sequence, unsigned long long seed, int purpose, const int* step, int threshold,               \
           float dropout_scale) {                                                                                        \
        attention_grad_q<float, S>(qkv, out, stats, dout, dqkv, rows, t, heads, head_size, scale, first_sequence,        \
                                   make_dropout(seed, purpose, step, threshold, dropout_scale));                         \
    }                                                                                                                    \
    KERNEL(WARP * WARPS<S>, attention_grad_kv_f32_##S, const float* qkv, const float* stats, const float* dout,          \
           const float* rows, float* dqkv, int t, int heads, int head_size, float scale, long long first_sequence,       \
           unsigned long long seed, int purpose, const int* step, int threshold, float dropout_scale) {                  \
        attention_grad_kv<float, S>(qkv, stats, dout, rows, dqkv, t, heads, head_size, scale, first_sequence,            \
                                    make_dropout(seed, purpose, step, threshold, dropout_scale));                        \
    }

ATTENTION(8)
ATTENTION(16)
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)
