// Rows of the token table plus rows of the position table, and the gradients of both tables.
//
// Bound by memory. Forward: out written once, the tables come from the cache. Backward: dout is read once for each table;
// every token is compared with every row of the table, from the cache. No atomics: the sums have a fixed order.
#include "common/pack.cuh"
#include "common/reduce.cuh"

// out (B, T, C) = wte[tokens] + wpe[position + t]; wpe and position may be null. A thread takes PACK channels.
template <typename T>
__device__ void embedding(const int* tokens, const T* wte, const T* wpe, const int* position, T* out, int rows, int t,
                          int c) {
    int packs = (c + PACK<T> - 1) / PACK<T>;
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int row = int(index / packs);
    int j = int(index % packs) * PACK<T>;
    if (row >= rows) {
        return;
    }
    bool wide = c % PACK<T> == 0 && is_wide(wte) && is_wide(wpe) && is_wide(out);
    float values[PACK<T>];
    load(wte + (long long)tokens[row] * c + j, c - j, wide, values);
    if (wpe != nullptr) {
        int place = (position == nullptr ? 0 : *position) + row % t;
        float positions[PACK<T>];
        load(wpe + (long long)place * c + j, c - j, wide, positions);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] += positions[k];
        }
    }
    store(out + (long long)row * c + j, c - j, wide, values);
}

KERNEL(256, embedding_f32, const int* tokens, const float* wte, const float* wpe, const int* position, float* out,
       int rows, int t, int c) {
    embedding(tokens, wte, wpe, position, out, rows, t, c);
}

// dwte (gridDim.x, C): row v is the sum of the rows of dout whose token is v. Blocks of (WARP, 8): WARP channels, and eight
// stretches of rows whose sums are added up in their order. Tokens are along x, since a grid has only 65,535 blocks along y.
template <typename T>
__device__ void token_embedding_grad(const int* tokens, const T* dout, float* dwte, int rows, int c) {
    SHARED(float, parts, [8][WARP]);
    int column = blockIdx.y * WARP + threadIdx.x;
    int token = blockIdx.x;
    int stretch = (rows + 7) / 8;
    int first = threadIdx.y * stretch;
    int last = first + stretch < rows ? first + stretch : rows;
    float sum = 0;
    for (int base = first; base < last; base += WARP) {
        // each lane looks at one token; then the warp adds the rows that were found
        int mine = base + int(threadIdx.x);
        unsigned found = __ballot_sync(ALL_LANES, mine < last && tokens[mine] == token);
        while (found != 0) {
            int row = base + __ffs(found) - 1;
            found &= found - 1;
            if (column < c) {
                sum += float(dout[(long long)row * c + column]);
            }
        }
    }
    parts[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < c) {
        for (int i = 1; i < 8; i++) {
            sum += parts[i][threadIdx.x];
        }
        dwte[(long long)token * c + column] = sum;
    }
}

KERNEL(256, token_embedding_grad_f32, const int* tokens, const float* dout, float* dwte, int rows, int c) {
    token_embedding_grad(tokens, dout, dwte, rows, c);
}

// dwpe (context, C): row t is the sum over the batch of dout (B, T, C) at t, and 0 from T on.
template <typename T>
__device__ void position_embedding_grad(const T* dout, float* dwpe, int batch, int t, int c, int context) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)context * c) {
        return;
    }
    float sum = 0;
    if (i < (long long)t * c) {
        for (int b = 0; b < batch; b++) {
            sum += float(dout[(long long)b * t * c + i]);
        }
    }
    dwpe[i] = sum;
}

KERNEL(256, position_embedding_grad_f32, const float* dout, float* dwpe, int batch, int t, int c, int context) {
    position_embedding_grad(dout, dwpe, batch, t, c, context);
}
