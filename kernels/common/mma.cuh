// Products of small matrices on the tensor cores.
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
#endif
