// Rows of the token table plus rows of the position table, and the gradients of both tables.
//
// Bound by memory. Forward: out written once, the tables come from the cache. Backward: dout is read once for each table;
// every token is compared with every row of the table, from the cache. No atomics: the sums have a fixed order.
#include "common/pack.cuh"
#include "common/reduce.cuh"

// out (B, T, C) = wte[tokens] + wpe[position + t]; wpe and position may be null. wte (V, C); the row of what is no token is not a
// number. A thread takes PACK channels.
template <typename T>
__device__ void embedding(const int* tokens, const float* wte, const float* wpe, const int* position, T* out, int rows,
                          int t, int v, int c) {
    int packs = (c + PACK<T> - 1) / PACK<T>;
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int row = int(index / packs);
    int j = int(index % packs) * PACK<T>;
    if (row >= rows) {
        return;
    }
    bool wide = c % PACK<T> == 0 && is_wide(wte) && is_wide(wpe) && is_wide(out);
    float values[PACK<T>];
    int token = tokens[row];
    if (unsigned(token) < unsigned(v)) {
        load_floats<T>(wte + (long long)token * c + j, c - j, wide, values);
    } else {
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] = NAN;
        }
    }
    if (wpe != nullptr) {
        int place = (position == nullptr ? 0 : *position) + row % t;
        float positions[PACK<T>];
        load_floats<T>(wpe + (long long)place * c + j, c - j, wide, positions);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] += positions[k];
        }
    }
    store(out + (long long)row * c + j, c - j, wide, values);
}

#define EMBEDDING(T, TYPE)                                                                                            \
    KERNEL(256, embedding_##TYPE, const int* tokens, const float* wte, const float* wpe, const int* position, T* out, \
           int rows, int t, int v, int c) {                                                                           \
        embedding(tokens, wte, wpe, position, out, rows, t, v, c);                                                    \
    }

EMBEDDING(float, f32)
EMBEDDING(__nv_bfloat16, bf16)

// dwte (parts, V, C): row v of a part is the sum of those `each` rows of dout of the part whose token is v. With one part, that
// is the gradient; with more, column_sums adds them up: a frequent token would keep one block busy long after the others. Blocks
// of (WARP, 8): WARP channels, and eight stretches of rows whose sums are added up in their order. Parts and tokens are along x,
// since a grid has only 65,535 blocks along y.
template <typename T>
__device__ void token_embedding_grad(const int* tokens, const T* dout, float* dwte, int rows, int v, int c, int each) {
    SHARED(float, parts, [8][WARP]);
    int column = blockIdx.y * WARP + threadIdx.x;
    int token = blockIdx.x % v;
    int part = blockIdx.x / v;
    int end = (part + 1) * each < rows ? (part + 1) * each : rows;
    int stretch = (each + 7) / 8;
    int first = part * each + threadIdx.y * stretch;
    int last = first + stretch < end ? first + stretch : end;
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
        dwte[(long long)blockIdx.x * c + column] = sum;
    }
}

#define TOKEN_EMBEDDING_GRAD(T, TYPE)                                                                                           \
    KERNEL(256, token_embedding_grad_##TYPE, const int* tokens, const T* dout, float* dwte, int rows, int v, int c, int each) { \
        token_embedding_grad(tokens, dout, dwte, rows, v, c, each);                                                             \
    }

TOKEN_EMBEDDING_GRAD(float, f32)
TOKEN_EMBEDDING_GRAD(__nv_bfloat16, bf16)

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

#define POSITION_EMBEDDING_GRAD(T, TYPE)                                                                             \
    KERNEL(256, position_embedding_grad_##TYPE, const T* dout, float* dwpe, int batch, int t, int c, int context) {  \
        position_embedding_grad(dout, dwpe, batch, t, c, context);                                                   \
    }

POSITION_EMBEDDING_GRAD(float, f32)
POSITION_EMBEDDING_GRAD(__nv_bfloat16, bf16)
