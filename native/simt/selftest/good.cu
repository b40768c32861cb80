// Kernels that are right: the self-test compares what they compute.
#include "common/kernel.cuh"
#include "common/mma.cuh"

KERNEL(256, add_one, float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        x[i] += 1.0f;
    }
}

// The sum of a row by one warp, twice.
KERNEL(32, row_sums, const float* __restrict__ x, float* __restrict__ sums, int columns) {
    float sum = 0.0f, squares = 0.0f;
    for (int i = threadIdx.x; i < columns; i += WARP) {
        float value = x[blockIdx.x * columns + i];
        sum += value;
        squares += value * value;
    }
    sum = warp_sum(sum);
    squares = warp_sum(squares);
    if (threadIdx.x == 0) {
        sums[blockIdx.x * 2] = sum;
        sums[blockIdx.x * 2 + 1] = squares;
    }
}

template <int N> __device__ __forceinline__ float block_sum(float value) {
    SHARED(float, parts, [N / 32]);
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) {
        parts[threadIdx.x / 32] = value;
    }
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < N / 32; i++) {
        sum += parts[i];
    }
    __syncthreads();
    return sum;
}

KERNEL(256, block_sums, const float* x, float* sums) {
    float a = block_sum<256>(x[blockIdx.x * 256 + threadIdx.x]);
    float b = block_sum<256>(a);
    if (threadIdx.x == 255) {
        sums[blockIdx.x] = a + b;
    }
}

KERNEL(1024, transpose, const float* __restrict__ in, float* __restrict__ out, int n) {
    SHARED(float, tile, [32][33]);
    int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
    if (x < n && y < n) {
        tile[threadIdx.y][threadIdx.x] = in[y * n + x];
    }
    __syncthreads();
    x = blockIdx.y * 32 + threadIdx.x;
    y = blockIdx.x * 32 + threadIdx.y;
    if (x < n && y < n) {
        out[y * n + x] = tile[threadIdx.x][threadIdx.y];
    }
}

// All kinds of shuffles, votes and partial masks; one result for each, lane by lane.
KERNEL(32, exchanges, int* out) {
    int lane = threadIdx.x;
    out[lane] = __shfl_sync(ALL_LANES, lane * 10, 5);
    out[32 + lane] = __shfl_up_sync(ALL_LANES, lane, 3, 8);
    out[64 + lane] = __shfl_down_sync(ALL_LANES, lane, 3, 8);
    out[96 + lane] = int(__ballot_sync(ALL_LANES, lane % 3 == 0));
    unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    double sum = lane;
    for (int offset = 8; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(half, sum, offset);
    }
    out[128 + lane] = int(sum);
    out[160 + lane] = __any_sync(ALL_LANES, lane == 31) + 2 * __all_sync(ALL_LANES, lane < 31);
    if (lane % 2 == 0) {
        out[192 + lane] = int(__shfl_sync(0x55555555u, (long long)lane << 33, 4) >> 33);
    } else {
        out[192 + lane] = -1;
    }
}

__constant__ float factors[4] = {1.0f, 2.0f, 3.0f, 4.0f};

// Vectors, bfloat16, a local array with an index of run time, constants, and threads that end before a barrier.
KERNEL(64, mixture, const float4* in, __nv_bfloat16* out, int live) {
    SHARED(__nv_bfloat16, halves, [64]);
    if (int(threadIdx.x) >= live) {
        return;
    }
    float4 v = in[threadIdx.x];
    float local[4] = {v.x, v.y, v.z, v.w};
    float picked = local[threadIdx.x % 4] * factors[threadIdx.x % 4];
    halves[threadIdx.x] = __float2bfloat16(picked);
    __syncthreads();
    out[threadIdx.x] = halves[live - 1 - threadIdx.x];
}

// A warp's lanes hand values on through shared memory, ordered by __syncwarp alone.
KERNEL(128, warp_hand_on, int* out) {
    SHARED(int, slots, [128]);
    int value = threadIdx.x;
    for (int round = 0; round < 3; round++) {
        slots[threadIdx.x] = value;
        __syncwarp();
        value = slots[threadIdx.x ^ 1] + 1;
        __syncwarp();
    }
    out[threadIdx.x] = value;
}

// out = in backwards, through as much shared memory as the launch gives.
KERNEL(256, reverse, const float* in, float* out, int n) {
    DYNAMIC_SHARED(float, all);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        all[i] = in[i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        out[i] = all[n - 1 - i];
    }
}

// c (16, 8) += a (16, 32) times the transposed b (8, 32).
KERNEL(32, warp_product, const unsigned* a, const unsigned* b, int* c) {
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned left[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + 4 + t], a[(g + 8) * 8 + 4 + t]};
    int* upper = c + g * 8 + 2 * t;
    int* lower = upper + 8 * 8;
    int sums[4] = {upper[0], upper[1], lower[0], lower[1]};
    mma_u8_s8(sums, left, b[g * 8 + t], b[g * 8 + 4 + t]);
    upper[0] = sums[0];
    upper[1] = sums[1];
    lower[0] = sums[2];
    lower[1] = sums[3];
}

// c (16, 8), float32, += a (16, 16) b (16, 8), of bfloat16, through shared memory. The rows of b lie one after another: its
// matrices are transposed on the way. before (32) gets what is in shared memory ahead of the wait.
KERNEL(32, bf16_product, const uint4* a, const uint4* b, float* c, unsigned* before) {
    SHARED(uint4, left, [16][2]);
    SHARED(uint4, right, [32]);
    int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    copy_async(&left[lane / 2][lane % 2], a + lane, true);
    copy_async(&right[lane], b + lane % 16, lane < 16);
    before[lane] = right[lane].w;
    copy_wait();
    __syncwarp();
    unsigned rows[4], columns[4];
    load_matrices(rows, &left[lane % 16][lane / 16]);
    load_transposed(columns, &right[lane]);
    float* upper = c + g * 8 + 2 * t;
    float* lower = upper + 8 * 8;
    float sums[4] = {upper[0], upper[1], lower[0], lower[1]};
    mma_bf16(sums, rows, columns[0], columns[1]);
    mma_bf16(sums, rows, columns[2], columns[3]);  // zeros
    upper[0] = sums[0];
    upper[1] = sums[1];
    lower[0] = sums[2];
    lower[1] = sums[3];
}

// Nothing but switches between fibers, to time them.
KERNEL(1024, switches, float* out, int rounds) {
    float value = threadIdx.x;
    for (int i = 0; i < rounds; i++) {
        value = __shfl_xor_sync(ALL_LANES, value, 1);
    }
    out[threadIdx.x] = value;
}
