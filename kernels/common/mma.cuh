// Products of small matrices on the tensor cores, and how their operands get there from memory.
#pragma once
#include "kernel.cuh"

#ifndef SIMT
// sums (16, 8) += a (16, 32), unsigned bytes, times b (32, 8), signed bytes. Each lane of the warp, which is 4 g + t, has
// - of a: rows g, g + 8, g, g + 8, of the columns 4 t to 4 t + 3 first, then of those 16 further on, lowest byte first;
// - of b: the rows 4 t to 4 t + 3 of column g, and those 16 further on;
// - of the sums: (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1).
__device__ __forceinline__ void mma_u8_s8(int (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// sums (16, 8), float32, += a (16, 16) times b (16, 8), bfloat16, two to a word. Each lane, which is 4 g + t, has
// - of a: rows g, g + 8, g, g + 8, of the columns 2 t and 2 t + 1 first, then of those 8 further on, the left one lowest;
// - of b: the rows 2 t and 2 t + 1 of column g, and those 8 further on;
// - of the sums: (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1).
__device__ __forceinline__ void mma_bf16(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices (8, 8) of 16-bit elements from shared memory: lane l says where row l % 8 of matrix l / 8 lies. Of each
// matrix lane 4 g + t gets the columns 2 t and 2 t + 1 of row g, the left one lowest.
__device__ __forceinline__ void load_matrices(unsigned (&matrices)[4], const uint4* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
        : "r"(unsigned(__cvta_generic_to_shared(row))) : "memory");
}

// The same of the transposed matrices: lane 4 g + t gets the rows 2 t and 2 t + 1 of column g.
__device__ __forceinline__ void load_transposed(unsigned (&matrices)[4], const uint4* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
        : "r"(unsigned(__cvta_generic_to_shared(row))) : "memory");
}

// Starts to copy 16 bytes from device memory into shared memory, or to zero them where the source does not exist. They
// are there once the thread has called copy_wait, and for other threads after a barrier behind it.
__device__ __forceinline__ void copy_async(uint4* to, const void* from, bool exists) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
        :: "r"(unsigned(__cvta_generic_to_shared(to))), "l"(__cvta_generic_to_global(from)), "r"(exists ? 16 : 0) : "memory");
}

// Waits for all copies that the thread has started.
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}
#endif
