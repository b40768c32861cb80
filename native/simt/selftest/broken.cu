// Kernels with one defect each: the driver must name it.
#include "common/kernel.cuh"
#include "common/mma.cuh"

KERNEL(64, read_past_end, const float* x, float* y) {
    y[threadIdx.x] = x[threadIdx.x + 1];
}

KERNEL(64, write_past_end, char* x) {
    x[threadIdx.x + 1] = 0;
}

KERNEL(64, wild_pointer, float* y) {
    y[threadIdx.x] = *reinterpret_cast<const float*>(0x123456789000ull);
}

KERNEL(64, null_pointer, const float* x, float* y) {
    y[threadIdx.x] = x[threadIdx.x];
}

KERNEL(64, misaligned_vector, const float* x, float* y) {
    float4 v = *reinterpret_cast<const float4*>(x + threadIdx.x);
    y[threadIdx.x] = v.x + v.y + v.z + v.w;
}

KERNEL(64, misaligned_float, const char* x, float* y) {
    y[threadIdx.x] = *reinterpret_cast<const float*>(x + threadIdx.x);
}

KERNEL(64, missing_syncthreads, int* out) {
    SHARED(int, slots, [64]);
    slots[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = slots[63 - threadIdx.x];
}

KERNEL(64, missing_second_syncthreads, int* out) {
    SHARED(int, slots, [64]);
    for (int i = 0; i < 2; i++) {
        slots[threadIdx.x] = threadIdx.x + i;
        __syncthreads();
        out[threadIdx.x] = slots[63 - threadIdx.x];
    }
}

KERNEL(64, missing_syncwarp, int* out) {
    SHARED(int, slots, [64]);
    slots[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = slots[threadIdx.x ^ 1];
}

// A shuffle keeps lanes together but does not order memory.
KERNEL(64, shuffle_for_syncwarp, int* out) {
    SHARED(int, slots, [64]);
    slots[threadIdx.x] = threadIdx.x;
    int other = __shfl_xor_sync(ALL_LANES, int(threadIdx.x), 1);
    out[threadIdx.x] = slots[threadIdx.x ^ 1] + other;
}

KERNEL(64, same_value_race, int* out) {
    SHARED(int, flag, [1]);
    flag[0] = 1;
    __syncthreads();
    out[threadIdx.x] = flag[0];
}

KERNEL(64, uninitialised_shared, int* out) {
    SHARED(int, slots, [64]);
    if (threadIdx.x < 63) {
        slots[threadIdx.x] = threadIdx.x;
    }
    __syncthreads();
    out[threadIdx.x] = slots[threadIdx.x];
}

KERNEL(64, shared_index, int* out, int index) {
    SHARED(int, slots, [16]);
    slots[index] = 1;
    out[threadIdx.x] = 0;
}

KERNEL(64, shared_pointer, int* out, int index) {
    SHARED(int, slots, [15]);
    int* pointer = slots;
    pointer[index] = 1;
    out[threadIdx.x] = 0;
}

KERNEL(64, divergent_shuffle, float* out) {
    float value = threadIdx.x;
    if (threadIdx.x % 32 < 31) {
        value = warp_sum(value);
    }
    out[threadIdx.x] = value;
}

KERNEL(64, divergent_mma, int* out) {
    int sums[4] = {};
    unsigned a[4] = {};
    if (threadIdx.x % 32 < 31) {
        mma_u8_s8(sums, a, 0, 0);
    }
    out[threadIdx.x] = sums[0];
}

KERNEL(64, divergent_ldmatrix, unsigned* out) {
    SHARED(uint4, rows, [64]);
    rows[threadIdx.x] = make_uint4(0, 0, 0, 0);
    __syncthreads();
    unsigned matrices[4] = {};
    if (threadIdx.x % 32 > 0) {
        load_matrices(matrices, &rows[threadIdx.x]);
    }
    out[threadIdx.x] = matrices[0];
}

// Copies have arrived for the thread that waited for them, not for others.
KERNEL(64, copy_without_barrier, const uint4* in, unsigned* out) {
    SHARED(uint4, rows, [64]);
    copy_async(&rows[threadIdx.x], in + threadIdx.x, true);
    copy_wait();
    out[threadIdx.x] = rows[threadIdx.x ^ 1].x;
}

KERNEL(64, misaligned_copy, const char* in, unsigned* out) {
    SHARED(uint4, rows, [64]);
    copy_async(&rows[threadIdx.x], in + 8 + 16 * threadIdx.x, true);
    copy_wait();
    out[threadIdx.x] = rows[threadIdx.x].x;
}

KERNEL(64, divergent_barrier, float* out) {
    float value = threadIdx.x;
    if (threadIdx.x < 40) {
        __syncthreads();
    } else {
        value = __shfl_xor_sync(ALL_LANES, value, 1);
    }
    out[threadIdx.x] = value;
}

KERNEL(64, lane_outside_mask, float* out) {
    float value = threadIdx.x;
    if (threadIdx.x % 32 < 16) {
        value = __shfl_sync(0x0000ffffu, value, 20);
    }
    out[threadIdx.x] = value;
}

KERNEL(64, too_much_shared, float* out) {
    SHARED(float, big, [96][64]);
    SHARED(float, bigger, [97][64]);
    big[0][threadIdx.x] = 1.0f;
    bigger[0][threadIdx.x] = 2.0f;
    out[threadIdx.x] = big[0][threadIdx.x] + bigger[0][threadIdx.x];
}

KERNEL(64, copy_past_end, char* to, const char* from, int bytes) {
    if (threadIdx.x == 0) {
        memcpy(to, from, bytes);
    }
}

// Declared with one parameter in the PTX of the self-test.
KERNEL(64, stale, float* out, int n) {
    out[threadIdx.x] = n;
}
