// Many operations of a small model in one launch: an interpreter. Between gathering a batch and the sums of its gradients, each
// sequence is worked on alone; so a block takes a sequence through all operations, with a barrier between two where a GPU
// would otherwise end a launch and begin another. SequenceProgram.java makes the list of operations.
//
// Bound by latency: an operation on a few rows of 32 channels is over in the time that a chain of loads, sums over a warp and
// a barrier take. Estimated, not measured: 0.2 to 0.4 microseconds each, some 60 of them in a training step of three layers.
// Weights are read from the caches; what a sequence computes lies in shared memory where there is room for it, and is also
// written to memory, where later launches look for it.
//
// Products are made of tiles of eight rows, so that a weight is read once for eight rows.
//
// A step goes through the code once, so what does not fit the instruction cache of a multiprocessor (128 KB) is waited for. So each
// operation is a function that is not inlined, and loops that end after a few rounds are not unrolled. They call no function
// themselves: that would take a stack.
#include "common/mma.cuh"
#include "common/norm.cuh"
#include "common/online_softmax.cuh"
#include "common/philox.cuh"
#include "common/sequence_ops.cuh"

constexpr int WARPS = 8;
constexpr int THREADS = WARPS * WARP;
constexpr int TILE = 8;     // rows of a product that are computed together
constexpr int COLUMNS = 4;  // elements of a row to be normalized that a lane keeps: rows of up to 128
constexpr int QUAD = PACK<float>;

struct Operation : OperationWords {
    __device__ Dropout dropout() const {
        return make_dropout(seed, purpose, static_cast<const int*>(pointers[STEP]), threshold, scale);
    }

    template <typename T>
    __device__ T* pointer(int i) const {
        return static_cast<T*>(pointers[i]);
    }

    static constexpr int STEP = sizeof(pointers) / sizeof(pointers[0]) - 1;
};

// The block's part of a tensor (B, T, width).
struct SequenceRows {
    float* cached;  // what is read: shared memory, or else global memory
    float* global;
    int stride;  // of cached
    int width;

    __device__ float* row(int r) const {
        return cached + r * stride;
    }

    __device__ bool wide() const {
        return stride % QUAD == 0 && is_wide(cached);
    }

    __device__ void put(int r, int j, float x) const {
        cached[r * stride + j] = x;
        if (cached != global) {
            global[r * width + j] = x;
        }
    }
};

// What the operations of a launch have in common.
struct Sequence {
    float* memory;   // shared; it begins with scratch that each operation uses as it likes
    int t;           // rows
    long long part;  // elements from a block's part of the gradients to the next block's

    __device__ SequenceRows rows(const Operation& op, int i, int width) const {
        float* global = op.pointer<float>(i) + (long long)blockIdx.x * t * width;
        int place = op.places[i];
        return place < 0 ? SequenceRows{global, global, width, width}
                         : SequenceRows{memory + (place & 0xffff) * QUAD, global, place >> 16, width};
    }

    // The block's part of the gradient of a parameter, or null.
    __device__ float* gradient(const Operation& op, int i) const {
        return op.pointers[i] == nullptr ? nullptr : op.pointer<float>(i) + blockIdx.x * part;
    }
};

__device__ __forceinline__ int thread_index() {
    return threadIdx.y * WARP + threadIdx.x;
}

// Calls map(r, j) for each element of `rows` rows of c.
template <typename Map>
__device__ __forceinline__ void each_element(int rows, int c, Map map) {
#pragma unroll 1
    for (int r = threadIdx.y; r < rows; r += WARPS) {
#pragma unroll 1
        for (int j = threadIdx.x; j < c; j += WARP) {
            map(r, j);
        }
    }
}

// The factor of element e of what is dropped from.
__device__ __forceinline__ float dropout_factor(const Dropout& dropout, unsigned long long e) {
    return dropout.factor(philox(dropout.stream, e >> 3), int(e & 7));
}

// Eight values of each of eight neighbouring lanes become eight sums over the lanes: lane l gets that of values[l].
__device__ __forceinline__ float transposed_sum(float (&values)[TILE]) {
#pragma unroll
    for (int half = TILE / 2; half > 0; half /= 2) {
        bool upper = (threadIdx.x & half) != 0;
#pragma unroll
        for (int i = 0; i < half; i++) {
            float kept = upper ? values[i + half] : values[i];
            float given = upper ? values[i] : values[i + half];
            values[i] = kept + __shfl_xor_sync(ALL_LANES, given, half);
        }
    }
    return values[0];
}

// N elements, whose pointer is a multiple of their bytes.
template <int N>
__device__ __forceinline__ void load_all(const float* p, float (&values)[N]) {
    Pack<float, N> pack = *reinterpret_cast<const Pack<float, N>*>(p);
#pragma unroll
    for (int k = 0; k < N; k++) {
        values[k] = pack.elements[k];
    }
}

// `wide`: both, and n, are multiples of 16 bytes.
__device__ __forceinline__ float dot(const float* a, const float* b, int n, bool wide) {
    float sum = 0;
    if (wide) {
#pragma unroll 2
        for (int d = 0; d < n; d += QUAD) {
            float x[QUAD];
            float y[QUAD];
            load_all(a + d, x);
            load_all(b + d, y);
#pragma unroll
            for (int k = 0; k < QUAD; k++) {
                sum += x[k] * y[k];
            }
        }
    } else {
#pragma unroll 1
        for (int d = 0; d < n; d++) {
            sum += a[d] * b[d];
        }
    }
    return sum;
}

// ---------------------------------------------------------------------------------------------- rows of single elements

// Draws the block's sequence: corpus (n), x and y I32 (B, T).
__device__ __noinline__ void gather(Sequence sequence, const Operation& op) {
    Stream stream = {op.seed, op.purpose, *op.pointer<const int>(Operation::STEP)};
    unsigned word = philox_word(stream, op.first + blockIdx.x);
    int place = int(__umulhi(word, unsigned(op.sizes[GatherBatchOp::N] - sequence.t)));
    const unsigned short* corpus = op.pointer<const unsigned short>(GatherBatchOp::CORPUS) + place;
    long long start = (long long)blockIdx.x * sequence.t;
#pragma unroll 1
    for (int r = thread_index(); r < sequence.t; r += THREADS) {
        op.pointer<int>(GatherBatchOp::X)[start + r] = corpus[r];
        op.pointer<int>(GatherBatchOp::Y)[start + r] = corpus[r + 1];
    }
}

// tokens I32 (B, T), wte (V, c), wpe (context, c) or null, position I32 (1) or null, out (B, T, c). The row of
// what is no token is not a number.
__device__ __noinline__ void embedding(Sequence sequence, const Operation& op) {
    int c = op.sizes[EmbeddingOp::C];
    const int* tokens = op.pointer<const int>(EmbeddingOp::TOKENS) + (long long)blockIdx.x * sequence.t;
    const float* wpe = op.pointer<const float>(EmbeddingOp::WPE);
    SequenceRows out = sequence.rows(op, EmbeddingOp::OUT, c);
    int position = op.pointers[EmbeddingOp::POSITION] == nullptr ? 0 : *op.pointer<const int>(EmbeddingOp::POSITION);
    each_element(sequence.t, c, [&](int r, int j) {
        bool known = unsigned(tokens[r]) < unsigned(op.sizes[EmbeddingOp::V]);
        float token = known ? op.pointer<const float>(EmbeddingOp::WTE)[(long long)tokens[r] * c + j] : NAN;
        out.put(r, j, wpe == nullptr ? token : token + wpe[(long long)(position + r) * c + j]);
    });
}

// tokens I32 (B, T), dout (B, T, c), parts of dwte (V, c) and of dwpe (context, c) or null.
__device__ __noinline__ void embedding_grad(Sequence sequence, const Operation& op) {
    int c = op.sizes[EmbeddingGradOp::C];
    const int* tokens = op.pointer<const int>(EmbeddingGradOp::TOKENS) + (long long)blockIdx.x * sequence.t;
    SequenceRows dout = sequence.rows(op, EmbeddingGradOp::DOUT, c);
    float* dwte = sequence.gradient(op, EmbeddingGradOp::DWTE);
#pragma unroll 1
    for (int v = threadIdx.y; v < op.sizes[EmbeddingGradOp::V]; v += WARPS) {
#pragma unroll 1
        for (int j0 = 0; j0 < c; j0 += WARP) {
            int j = j0 + int(threadIdx.x);
            float sum = 0;
#pragma unroll 1
            for (int r0 = 0; r0 < sequence.t; r0 += WARP) {
                // each lane looks at one token; then the warp adds the rows that were found
                int mine = r0 + int(threadIdx.x);
                unsigned found = __ballot_sync(ALL_LANES, mine < sequence.t && tokens[mine] == v);
                while (found != 0) {
                    int r = r0 + __ffs(found) - 1;
                    found &= found - 1;
                    sum += j < c ? dout.row(r)[j] : 0.0f;
                }
            }
            if (j < c) {
                dwte[(long long)v * c + j] = sum;
            }
        }
    }
    float* dwpe = sequence.gradient(op, EmbeddingGradOp::DWPE);
    if (dwpe != nullptr) {
        each_element(op.sizes[EmbeddingGradOp::CONTEXT], c,
                     [&](int r, int j) { dwpe[r * c + j] = r < sequence.t ? dout.row(r)[j] : 0.0f; });
    }
}

// x (B, T, c) = 0.
__device__ __noinline__ void zero(Sequence sequence, const Operation& op) {
    SequenceRows x = sequence.rows(op, ZeroOp::X, op.sizes[ZeroOp::C]);
    each_element(sequence.t, op.sizes[ZeroOp::C], [&](int r, int j) { x.put(r, j, 0); });
}

// The sum (c) of the block's rows (T, c), pointer `from`, which other threads may have written just now, into the part of the
// gradient, pointer `to`, unless that is null.
__device__ __noinline__ void column_sums(Sequence sequence, const Operation& op, int c, int from, int to) {
    SequenceRows rows = sequence.rows(op, from, c);
    float* sums = sequence.gradient(op, to);
    if (sums == nullptr) {
        return;
    }
    __syncthreads();
#pragma unroll 1
    for (int j = thread_index(); j < c; j += THREADS) {
        float sum = 0;
#pragma unroll 4
        for (int r = 0; r < sequence.t; r++) {
            sum += rows.row(r)[j];
        }
        sums[j] = sum;
    }
}

// dy = 0 where y was not positive, both (B, T, c). Then come column_sums, into the gradient of a bias (c).
__device__ __noinline__ void relu_grad(Sequence sequence, const Operation& op) {
    SequenceRows y = sequence.rows(op, ReluGradOp::Y, op.sizes[ReluGradOp::C]);
    SequenceRows dy = sequence.rows(op, ReluGradOp::DY, op.sizes[ReluGradOp::C]);
    each_element(sequence.t, op.sizes[ReluGradOp::C], [&](int r, int j) { dy.put(r, j, y.row(r)[j] > 0 ? dy.row(r)[j] : 0.0f); });
}

// Where a residual sum has its operands.
struct ResidualPlaces {
    int c;
    int x;
    int branch;
    int bias;
    int sum;
};

// sum = x + dropout(branch + bias); x, branch, sum (B, T, c), bias (c) or null; sum may be x.
__device__ __noinline__ void residual(Sequence sequence, const Operation& op, ResidualPlaces places) {
    int c = places.c;
    SequenceRows x = sequence.rows(op, places.x, c);
    SequenceRows branch = sequence.rows(op, places.branch, c);
    SequenceRows sum = sequence.rows(op, places.sum, c);
    const float* bias = op.pointer<const float>(places.bias);
    Dropout dropout = op.dropout();
    long long first = op.first + (long long)blockIdx.x * sequence.t;
    each_element(sequence.t, c, [&](int r, int j) {
        float value = branch.row(r)[j] + (bias == nullptr ? 0.0f : bias[j]);
        if (dropout.active()) {
            value *= dropout_factor(dropout, (first + r) * c + j);
        }
        sum.put(r, j, x.row(r)[j] + value);
    });
}

// dbranch = dropout mask * dsum, pointers `to` and `from`, both (B, T, c). Then come column_sums, into the gradient of a bias (c).
__device__ __noinline__ void drop(Sequence sequence, const Operation& op, int c, int from, int to) {
    SequenceRows dsum = sequence.rows(op, from, c);
    SequenceRows dbranch = sequence.rows(op, to, c);
    Dropout dropout = op.dropout();
    long long first = op.first + (long long)blockIdx.x * sequence.t;
    each_element(sequence.t, c, [&](int r, int j) {
        float factor = dropout.active() ? dropout_factor(dropout, (first + r) * c + j) : 1.0f;
        dbranch.put(r, j, dsum.row(r)[j] * factor);
    });
}

// ---------------------------------------------------------------------------------------------- norms

// A row by a warp: x, branch or null, sum (B, T, c), weight, bias (c), out, stats (B, T, 2), the
// branch's bias (c) or null. Where there is a branch, residual has made the sum.
__device__ __noinline__ void layer_norm(Sequence sequence, const Operation& op) {
    int c = op.sizes[LayerNormOp::C];
    SequenceRows x = sequence.rows(op, LayerNormOp::X, c);
    SequenceRows out = sequence.rows(op, LayerNormOp::OUT, c);
    SequenceRows stats = sequence.rows(op, LayerNormOp::STATS, 2);
    float weight[COLUMNS];  // on their way while the sums are made
    float bias[COLUMNS];
#pragma unroll
    for (int k = 0; k < COLUMNS; k++) {
        int j = k * WARP + int(threadIdx.x);
        weight[k] = j < c ? op.pointer<const float>(LayerNormOp::WEIGHT)[j] : 0.0f;
        bias[k] = j < c ? op.pointer<const float>(LayerNormOp::BIAS)[j] : 0.0f;
    }
    for (int r = threadIdx.y; r < sequence.t; r += WARPS) {
        LaneRow<COLUMNS, 1> values;
        LayerNormStats normed = layer_norm_row<WARP>(
            values, c, [&](int, int j, float (&pack)[1]) { pack[0] = x.row(r)[j]; },
            [&](int p, int, float (&w)[1], float (&b)[1]) {
                w[0] = weight[p];
                b[0] = bias[p];
            },
            [&](int, int j, const float (&pack)[1]) { out.put(r, j, pack[0]); });
        if (threadIdx.x == 0) {
            stats.put(r, 0, normed.mean);
            stats.put(r, 1, normed.rstd);
        }
    }
}

// x (B, T, c), weight (c), stats (B, T, 2), dout (B, T, c), dx (B, T, c) that is added to, parts of dweight and dbias (c), dbranch
// (B, T, c) or null, which may be dout, part of the gradient of the branch's bias (c) or null. Where there is a dbranch, drop
// makes it of dx, and column_sums the bias's gradient of it.
__device__ __noinline__ void layer_norm_grad(Sequence sequence, const Operation& op) {
    int c = op.sizes[LayerNormGradOp::C];
    SequenceRows x = sequence.rows(op, LayerNormGradOp::X, c);
    SequenceRows stats = sequence.rows(op, LayerNormGradOp::STATS, 2);
    SequenceRows dout = sequence.rows(op, LayerNormGradOp::DOUT, c);
    SequenceRows dx = sequence.rows(op, LayerNormGradOp::DX, c);
    float weight[COLUMNS];
#pragma unroll
    for (int k = 0; k < COLUMNS; k++) {
        int j = k * WARP + int(threadIdx.x);
        weight[k] = j < c ? op.pointer<const float>(LayerNormGradOp::WEIGHT)[j] : 0.0f;
    }
    for (int r = threadIdx.y; r < sequence.t; r += WARPS) {
        LaneRow<COLUMNS, 2> values;
        layer_norm_grad_row<WARP>(
            values, c, {stats.row(r)[0], stats.row(r)[1]},
            [&](int p, int j, float (&xs)[1], float (&grads)[1], float (&w)[1]) {
                xs[0] = x.row(r)[j];
                grads[0] = dout.row(r)[j];
                w[0] = weight[p];
            },
            [&](int, int, const float (&)[1], const float (&)[1]) {},
            [&](int, int j, const float (&added)[1]) { dx.put(r, j, dx.row(r)[j] + added[0]); });
    }
    float* dweight = sequence.gradient(op, LayerNormGradOp::DWEIGHT);
    float* dbias = sequence.gradient(op, LayerNormGradOp::DBIAS);
#pragma unroll 1
    for (int j = thread_index(); j < c; j += THREADS) {
        float weights = 0;
        float biases = 0;
#pragma unroll 2
        for (int r = 0; r < sequence.t; r++) {
            float g = dout.row(r)[j];
            weights += g * (x.row(r)[j] - stats.row(r)[0]) * stats.row(r)[1];
            biases += g;
        }
        dweight[j] = weights;
        dbias[j] = biases;
    }
}

// ---------------------------------------------------------------------------------------------- products

// Eight lanes share a column of a product: each multiplies every eighth four elements of a row of w, read once for a tile of rows, and in
// the end gets the sum of one of these rows. A warp has SIDE columns side by side, GROUPS times.
constexpr int SIDE = WARP / TILE;
constexpr int GROUPS = 4;

// What N elements of a tile of rows, from k on, add to the sums of the first `groups` columns.
template <int N>
__device__ __forceinline__ void multiply(const float* const (&rows)[TILE], const float* const (&columns)[GROUPS], int groups,
                                         int k, float (&sums)[GROUPS][TILE]) {
    float ws[GROUPS][N] = {};
#pragma unroll
    for (int g = 0; g < GROUPS; g++) {
        if (g < groups) {
            load_all(columns[g] + k, ws[g]);
        }
    }
#pragma unroll
    for (int half = 0; half < TILE; half += TILE / 2) {
        float xs[TILE / 2][N];
#pragma unroll
        for (int r = 0; r < TILE / 2; r++) {
            load_all(rows[half + r] + k, xs[r]);
        }
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            if (g < groups) {
#pragma unroll
                for (int r = 0; r < TILE / 2; r++) {
#pragma unroll
                    for (int q = 0; q < N; q++) {
                        sums[g][half + r] += xs[r][q] * ws[g][q];
                    }
                }
            }
        }
    }
}

// y (B, T, out) = x (B, T, in) w (out, in)^T + bias (out) or null, then ReLU if asked.
__device__ __noinline__ void linear(Sequence sequence, const Operation& op) {
    int in = op.sizes[LinearOp::IN];
    int out = op.sizes[LinearOp::OUT];
    SequenceRows x = sequence.rows(op, LinearOp::X, in);
    const float* w = op.pointer<const float>(LinearOp::W);
    const float* bias = op.pointer<const float>(LinearOp::BIAS);
    SequenceRows y = sequence.rows(op, LinearOp::Y, out);
    bool wide = in % QUAD == 0 && x.wide() && is_wide(w);
    int lane = threadIdx.x % TILE;
    for (int r0 = 0; r0 < sequence.t; r0 += TILE) {
        for (int j0 = int(threadIdx.y) * SIDE; j0 < out; j0 += GROUPS * WARPS * SIDE) {
            int j = j0 + int(threadIdx.x) / TILE;
            float sums[GROUPS][TILE] = {};
            float biases[GROUPS];
#pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                int column = j + g * WARPS * SIDE;
                biases[g] = bias != nullptr && column < out ? bias[column] : 0.0f;
            }
            // beyond the last row or column the last one is read: nobody wants those sums
            const float* rows[TILE];
            const float* columns[GROUPS];
#pragma unroll
            for (int r = 0; r < TILE; r++) {
                rows[r] = x.row(min(r0 + r, sequence.t - 1));
            }
#pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                columns[g] = w + (long long)min(j + g * WARPS * SIDE, out - 1) * in;
            }
            int groups = (out - j0 + WARPS * SIDE - 1) / (WARPS * SIDE);
#pragma unroll 1
            for (int k = lane * QUAD; k < in; k += TILE * QUAD) {
                if (wide) {
                    multiply<QUAD>(rows, columns, groups, k, sums);
                } else {
#pragma unroll 1
                    for (int q = k; q < k + QUAD && q < in; q++) {
                        multiply<1>(rows, columns, GROUPS, q, sums);
                    }
                }
            }
#pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                int column = j + g * WARPS * SIDE;
                float sum = transposed_sum(sums[g]) + biases[g];
                if (r0 + lane < sequence.t && column < out) {
                    y.put(r0 + lane, column, op.sizes[LinearOp::RELU] && sum <= 0 ? 0.0f : sum);
                }
            }
        }
    }
}

// What a row adds to a tile of dw, and to the sums of its own elements.
__device__ __forceinline__ void add_products(const float (&a)[QUAD], const float (&b)[QUAD], float (&totals)[QUAD],
                                             float (&sums)[QUAD][QUAD]) {
#pragma unroll
    for (int p = 0; p < QUAD; p++) {
        totals[p] += a[p];
#pragma unroll
        for (int q = 0; q < QUAD; q++) {
            sums[p][q] += a[p] * b[q];
        }
    }
}

// What N elements of a tile of rows, from j on, add to a column's sums, whose weights are `stride` apart.
template <int N>
__device__ __forceinline__ void multiply_back(const float* const (&rows)[TILE], const float* weights, int stride, int j,
                                              float (&sums)[TILE]) {
    float ws[N];
#pragma unroll
    for (int q = 0; q < N; q++) {
        ws[q] = weights[(long long)(j + q) * stride];
    }
#pragma unroll
    for (int r = 0; r < TILE; r++) {
        float grads[N];
        load_all(rows[r] + j, grads);
#pragma unroll
        for (int q = 0; q < N; q++) {
            sums[r] += grads[q] * ws[q];
        }
    }
}

// x (B, T, in), w (out, in), dy (B, T, out), dx (B, T, in) or null, parts of dw (out, in) and dbias (out) or null.
__device__ __noinline__ void linear_grad(Sequence sequence, const Operation& op) {
    int in = op.sizes[LinearGradOp::IN];
    int out = op.sizes[LinearGradOp::OUT];
    SequenceRows x = sequence.rows(op, LinearGradOp::X, in);
    const float* w = op.pointer<const float>(LinearGradOp::W);
    SequenceRows dy = sequence.rows(op, LinearGradOp::DY, out);
    SequenceRows dx = sequence.rows(op, LinearGradOp::DX, in);
    float* dw = sequence.gradient(op, LinearGradOp::DW);
    float* dbias = sequence.gradient(op, LinearGradOp::DBIAS);
    bool wide_dy = dy.wide();
    bool wide = x.wide() && wide_dy;
    bool wide_dw = in % QUAD == 0 && is_wide(dw);

    // dw = dy^T x: a thread has four rows and four columns of it.
    int across = (in + QUAD - 1) / QUAD;
    int down = (out + QUAD - 1) / QUAD;
#pragma unroll 1
    for (int tile = thread_index(); tile < across * down; tile += THREADS) {
        int j = tile / across * QUAD;
        int i = tile % across * QUAD;
        float sums[QUAD][QUAD] = {};
        float totals[QUAD] = {};
        if (wide && j + QUAD <= out && i + QUAD <= in) {
#pragma unroll 2
            for (int r = 0; r < sequence.t; r++) {
                float a[QUAD];
                float b[QUAD];
                load_all(dy.row(r) + j, a);
                load_all(x.row(r) + i, b);
                add_products(a, b, totals, sums);
            }
        } else {
#pragma unroll 1
            for (int r = 0; r < sequence.t; r++) {
                float a[QUAD];
                float b[QUAD];
#pragma unroll
                for (int k = 0; k < QUAD; k++) {
                    a[k] = dy.row(r)[min(j + k, out - 1)];
                    b[k] = x.row(r)[min(i + k, in - 1)];
                }
                add_products(a, b, totals, sums);
            }
        }
#pragma unroll
        for (int p = 0; p < QUAD; p++) {
            if (j + p < out) {
                store(dw + (long long)(j + p) * in + i, in - i, wide_dw, sums[p]);
                if (dbias != nullptr && i == 0) {
                    dbias[j + p] = totals[p];
                }
            }
        }
    }
    if (op.pointers[LinearGradOp::DX] == nullptr) {
        return;
    }

    // dx = dy w: a lane has a column for a tile of rows. Where there are fewer columns than threads, warps share the rows of w,
    // and what each has summed is added up.
    int blocks = (in + WARP - 1) / WARP;
    int together = blocks > 4 ? 8 : blocks > 2 ? 4 : blocks;  // blocks of columns
    int slices = WARPS / together;
    int columns = together * WARP;
    int slice = threadIdx.y / together;
    int column = threadIdx.y % together * WARP + threadIdx.x;
    float* partial = sequence.memory;  // (slices, TILE, columns)
    for (int r0 = 0; r0 < sequence.t; r0 += TILE) {
        for (int i0 = 0; i0 < in; i0 += columns) {
            int i = i0 + column;
            float sums[TILE] = {};
            const float* rows[TILE];  // beyond the last one the last one is read
#pragma unroll
            for (int r = 0; r < TILE; r++) {
                rows[r] = dy.row(min(r0 + r, sequence.t - 1));
            }
            const float* weights = w + min(i, in - 1);
#pragma unroll 1
            for (int j = slice * QUAD; j < out; j += slices * QUAD) {
                if (wide_dy && j + QUAD <= out) {
                    multiply_back<QUAD>(rows, weights, in, j, sums);
                } else {
#pragma unroll 1
                    for (int q = j; q < j + QUAD && q < out; q++) {
                        multiply_back<1>(rows, weights, in, q, sums);
                    }
                }
            }
#pragma unroll
            for (int r = 0; r < TILE; r++) {
                partial[(slice * TILE + r) * columns + column] = sums[r];
            }
            __syncthreads();
#pragma unroll 1
            for (int e = thread_index(); e < TILE * columns; e += THREADS) {
                int r = e / columns;
                int j = e % columns;
                float sum = 0;
#pragma unroll 1
                for (int s = 0; s < slices; s++) {
                    sum += partial[s * TILE * columns + e];
                }
                if (r0 + r < sequence.t && i0 + j < in) {
                    dx.put(r0 + r, i0 + j, sum);
                }
            }
            __syncthreads();  // they are added up before the next ones are written
        }
    }
}

// ---------------------------------------------------------------------------------------------- attention

// qkv (B, T, 3A), out (B, T, A), then stats (B, H, T, 2), or of ATTENTION_CACHED cache (B, context, 2A), which the keys and values
// are put into first, position I32 (1).
//
// The first query sees the keys up to its own place, each other one a key more. A query of a head is worked on by a group of
// lanes: as many as there are keys, or all of a warp.
__device__ __noinline__ void attention(Sequence sequence, const Operation& op) {
    int heads = op.sizes[AttentionOp::HEADS];
    int size = op.sizes[AttentionOp::HEAD_SIZE];
    int lanes = op.sizes[AttentionOp::LANES];
    int width = heads * size;
    bool is_cached = op.kind == ATTENTION_CACHED;
    SequenceRows qkv = sequence.rows(op, AttentionOp::QKV, 3 * width);
    SequenceRows out = sequence.rows(op, is_cached ? int(AttentionCachedOp::OUT) : int(AttentionOp::OUT), width);
    Dropout dropout = op.dropout();
    const float* keys = qkv.cached + width;
    int stride = qkv.stride;  // from the key of a place to that of the next, and so with values
    int offset = 0;
    float* cached_stats = nullptr;
    float* global_stats = nullptr;
    if (is_cached) {
        float* cache = op.pointer<float>(AttentionCachedOp::CACHE) + (long long)blockIdx.x * op.sizes[AttentionOp::KEYS] * 2 * width;
        int position = *op.pointer<const int>(AttentionCachedOp::POSITION);
        each_element(sequence.t, 2 * width, [&](int r, int j) {
            cache[(long long)(position + r) * 2 * width + j] = qkv.row(r)[width + j];
        });
        __syncthreads();
        keys = cache;
        stride = 2 * width;
        offset = position;
    } else {
        SequenceRows stats = sequence.rows(op, AttentionOp::STATS, 2 * heads);
        cached_stats = stats.cached;
        global_stats = stats.global;
    }
    const float* values = keys + width;
    bool wide = size % QUAD == 0 && qkv.wide() && is_wide(keys);
    int groups = THREADS / lanes;
    int group = thread_index() / lanes;
    int lane = threadIdx.x % lanes;
    float* weights = sequence.memory + group * op.sizes[AttentionOp::KEYS];  // of a query: (most keys)
    float scale = 1.0f / sqrtf(float(size));
    for (int pairs = 0; pairs < heads * sequence.t; pairs += groups) {
        int pair = pairs + group;
        int head = pair / sequence.t;
        int i = pair % sequence.t;
        int seen = head < heads ? offset + i + 1 : 0;
        const float* query = qkv.row(i) + head * size;
        float max = -INFINITY;
#pragma unroll 1
        for (int j = lane; j < seen; j += lanes) {
            float score = dot(query, keys + (long long)j * stride + head * size, size, wide) * scale;
            weights[j] = score;
            max = fmaxf(max, score);
        }
#pragma unroll 1
        for (int other = lanes / 2; other > 0; other /= 2) {
            max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, other));
        }
        float total = 0;
#pragma unroll 1
        for (int j = lane; j < seen; j += lanes) {
            float weight = Softmax::weight(weights[j], max);
            total += weight;
            if (dropout.active()) {
                unsigned long long row =
                    ((unsigned long long)(op.first + blockIdx.x) * heads + head) * sequence.t + i;
                weight *= dropout_factor(dropout, row * sequence.t + j);
            }
            weights[j] = weight;
        }
#pragma unroll 1
        for (int other = lanes / 2; other > 0; other /= 2) {
            total += __shfl_xor_sync(ALL_LANES, total, other);
        }
        float inverse = 1.0f / total;
        __syncwarp();
#pragma unroll 1
        for (int d = lane; seen > 0 && d < size; d += lanes) {
            float sum = 0;
#pragma unroll 4
            for (int j = 0; j < seen; j++) {
                sum += weights[j] * values[(long long)j * stride + head * size + d];
            }
            out.put(i, head * size + d, sum * inverse);
        }
        if (cached_stats != nullptr && seen > 0 && lane == 0) {
            cached_stats[2 * pair] = max;
            cached_stats[2 * pair + 1] = inverse;
            if (cached_stats != global_stats) {
                global_stats[2 * pair] = max;
                global_stats[2 * pair + 1] = inverse;
            }
        }
        __syncwarp();  // the weights have been read
    }
}

// Of a query and a key of a head.
struct Products {
    const float* query;
    const float* key;
    const float* value;
    const float* dout;
    const float* out;
    float score = 0;    // query * key
    float dweight = 0;  // dout * value
    float row_sum = 0;  // dout * out

    // N elements from d on, all of whose pointers are multiples of their bytes.
    template <int N>
    __device__ __forceinline__ void add(int d) {
        float queries[N];
        float keys[N];
        float values[N];
        float grads[N];
        float outs[N];
        load_all(query + d, queries);
        load_all(key + d, keys);
        load_all(value + d, values);
        load_all(dout + d, grads);
        load_all(out + d, outs);
#pragma unroll
        for (int k = 0; k < N; k++) {
            score += queries[k] * keys[k];
            dweight += grads[k] * values[k];
            row_sum += grads[k] * outs[k];
        }
    }
};

// qkv (B, T, 3A), out (B, T, A), stats (B, H, T, 2), dout (B, T, A), dqkv (B, T, 3A).
__device__ __noinline__ void attention_grad(Sequence sequence, const Operation& op) {
    int t = sequence.t;
    int heads = op.sizes[AttentionGradOp::HEADS];
    int size = op.sizes[AttentionGradOp::HEAD_SIZE];
    int width = heads * size;
    SequenceRows qkv = sequence.rows(op, AttentionGradOp::QKV, 3 * width);
    SequenceRows out = sequence.rows(op, AttentionGradOp::OUT, width);
    const float* stats = sequence.rows(op, AttentionGradOp::STATS, 2 * heads).cached;
    SequenceRows dout = sequence.rows(op, AttentionGradOp::DOUT, width);
    SequenceRows dqkv = sequence.rows(op, AttentionGradOp::DQKV, 3 * width);
    bool wide = size % QUAD == 0 && qkv.wide() && out.wide() && dout.wide();
    float scale = 1.0f / sqrtf(float(size));
    Dropout dropout = op.dropout();
    for (int h0 = 0; h0 < heads; h0 += op.sizes[AttentionGradOp::TOGETHER]) {
        int count = heads - h0 < op.sizes[AttentionGradOp::TOGETHER] ? heads - h0 : op.sizes[AttentionGradOp::TOGETHER];
        float* weights = sequence.memory;  // (count, T, T), up to the diagonal
        float* dscores = weights + count * t * t;
#pragma unroll 1
        for (int e = thread_index(); e < count * t * t; e += THREADS) {
            int row = e / t;
            int j = e - row * t;
            int head = h0 + row / t;
            int i = row % t;
            if (j > i) {
                continue;
            }
            Products products = {qkv.row(i) + head * size, qkv.row(j) + width + head * size,
                                 qkv.row(j) + 2 * width + head * size, dout.row(i) + head * size, out.row(i) + head * size};
            if (wide) {
#pragma unroll 1
                for (int d = 0; d < size; d += QUAD) {
                    products.add<QUAD>(d);
                }
            } else {
#pragma unroll 1
                for (int d = 0; d < size; d++) {
                    products.add<1>(d);
                }
            }
            float score = products.score * scale;
            float weight = expf(score - stats[2 * (head * t + i)]) * stats[2 * (head * t + i) + 1];
            float factor = 1;
            if (dropout.active()) {
                unsigned long long row = ((unsigned long long)(op.first + blockIdx.x) * heads + head) * t + i;
                factor = dropout_factor(dropout, row * t + j);
            }
            weights[e] = weight * factor;
            dscores[e] = weight * (products.dweight * factor - products.row_sum);
        }
        __syncthreads();
#pragma unroll 1
        for (int e = thread_index(); e < 3 * count * t * size; e += THREADS) {
            // gradients of queries, then of keys, then of values
            int row = e / size;
            int d = e - row * size;
            int matrices = row / t;
            int r = row - matrices * t;
            int kind = matrices / count;
            int index = matrices - kind * count;
            int column = (h0 + index) * size + d;
            const float* matrix = (kind == 2 ? weights : dscores) + index * t * t;
            float sum = 0;
            if (kind == 0) {
#pragma unroll 2
                for (int j = 0; j <= r; j++) {
                    sum += matrix[r * t + j] * qkv.row(j)[width + column];
                }
            } else {
                const float* rows = kind == 1 ? qkv.cached : dout.cached;
                int stride = kind == 1 ? qkv.stride : dout.stride;
#pragma unroll 2
                for (int i = r; i < t; i++) {
                    sum += matrix[i * t + r] * rows[i * stride + column];
                }
            }
            dqkv.put(r, kind * width + column, kind == 2 ? sum : sum * scale);
        }
        __syncthreads();  // they have been read before the next heads' are written
    }
}

// ---------------------------------------------------------------------------------------------- loss

// logits (B, T, v), targets I32 (B, T), losses (B, T), dlogits (B, T, v) or null, which may be logits. number: the gradient's
// scale.
__device__ __noinline__ void cross_entropy(Sequence sequence, const Operation& op) {
    int v = op.sizes[CrossEntropyOp::V];
    SequenceRows logits = sequence.rows(op, CrossEntropyOp::LOGITS, v);
    SequenceRows dlogits = sequence.rows(op, CrossEntropyOp::DLOGITS, v);
    long long start = (long long)blockIdx.x * sequence.t;
    for (int r = threadIdx.y; r < sequence.t; r += WARPS) {
        int target = op.pointer<const int>(CrossEntropyOp::TARGETS)[start + r];
        const float* row = logits.row(r);
        Softmax softmax = row_softmax<float, WARP>(row, v, logits.wide());
        if (threadIdx.x == 0) {
            op.pointer<float>(CrossEntropyOp::LOSS)[start + r] = softmax.loss(row, target, v);
        }
        if (op.pointers[CrossEntropyOp::DLOGITS] != nullptr) {
            __syncwarp();  // the loss is read before another lane overwrites the target's logit
            float factor = op.number / softmax.denominator;
#pragma unroll 1
            for (int j = threadIdx.x; j < v; j += WARP) {
                dlogits.put(r, j, softmax.loss_grad(row[j], j == target, factor, op.number));
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------- launches

// Starts to copy an operation into shared memory: it is there after copy_wait and a barrier.
__device__ __forceinline__ void fetch(Operation& to, const Operation& from) {
    int piece = thread_index();
    if (piece < int(sizeof(Operation) / sizeof(uint4))) {
        copy_async(reinterpret_cast<uint4*>(&to) + piece, reinterpret_cast<const uint4*>(&from) + piece, true);
    }
}

// Runs `count` operations on the rows of a sequence: a block a sequence, of (WARP, WARPS). The next operation is fetched while
// one is done.
KERNEL(THREADS, sequence_f32, const Operation* program, int count, int t, long long part) {
    DYNAMIC_SHARED(float, memory);
    SHARED(Operation, operations, [2]);
    Sequence sequence = {memory, t, part};
    fetch(operations[0], program[0]);
    copy_wait();
    __syncthreads();
    for (int i = 0; i < count; i++) {
        if (i + 1 < count) {
            fetch(operations[(i + 1) % 2], program[i + 1]);
        }
        const Operation& op = operations[i % 2];
        switch (op.kind) {
            case GATHER_BATCH: gather(sequence, op); break;
            case EMBEDDING: embedding(sequence, op); break;
            case EMBEDDING_GRAD: embedding_grad(sequence, op); break;
            case ZERO: zero(sequence, op); break;
            case RELU_GRAD:
                relu_grad(sequence, op);
                column_sums(sequence, op, op.sizes[ReluGradOp::C], ReluGradOp::DY, ReluGradOp::DBIAS);
                break;
            case RESIDUAL:
                residual(sequence, op,
                         {op.sizes[ResidualOp::C], ResidualOp::X, ResidualOp::BRANCH, ResidualOp::BIAS, ResidualOp::SUM});
                break;
            case RESIDUAL_GRAD:
                drop(sequence, op, op.sizes[ResidualGradOp::C], ResidualGradOp::DSUM, ResidualGradOp::DBRANCH);
                column_sums(sequence, op, op.sizes[ResidualGradOp::C], ResidualGradOp::DBRANCH, ResidualGradOp::DBIAS);
                break;
            case LAYER_NORM:
                if (op.pointers[LayerNormOp::RESIDUAL_BRANCH] != nullptr) {
                    residual(sequence, op,  // each thread what it reads in the norm
                             {op.sizes[LayerNormOp::C], LayerNormOp::RESIDUAL_X, LayerNormOp::RESIDUAL_BRANCH,
                              LayerNormOp::RESIDUAL_BIAS, LayerNormOp::X});
                }
                layer_norm(sequence, op);
                break;
            case LAYER_NORM_GRAD:
                layer_norm_grad(sequence, op);
                if (op.pointers[LayerNormGradOp::RESIDUAL_DBRANCH] != nullptr) {
                    int c = op.sizes[LayerNormGradOp::C];
                    __syncthreads();  // dout has been read, dx is written
                    drop(sequence, op, c, LayerNormGradOp::DX, LayerNormGradOp::RESIDUAL_DBRANCH);
                    column_sums(sequence, op, c, LayerNormGradOp::RESIDUAL_DBRANCH, LayerNormGradOp::RESIDUAL_DBIAS);
                }
                break;
            case LINEAR: linear(sequence, op); break;
            case LINEAR_GRAD: linear_grad(sequence, op); break;
            case ATTENTION:
            case ATTENTION_CACHED: attention(sequence, op); break;
            case ATTENTION_GRAD: attention_grad(sequence, op); break;
            case CROSS_ENTROPY: cross_entropy(sequence, op); break;
        }
        copy_wait();
        __syncthreads();  // what was written is read next
    }
}

// What the blocks of sequence_f32 left to be added up. First grads (n), a thread an element: where the bit of `written` is set,
// the sum of `count` parts, `stride` elements apart; elsewhere it stays. squares (blocks) or null: the sum of the squares of a
// block's elements. Then a block for each of `totals`: the sum of `rows` losses, as total_f32 makes it.
KERNEL(ROW_THREADS, sequence_sums_f32, const float* parts, long long stride, int count, const unsigned* written,
       float* grads, int n, float* squares, const float* losses, float* const* totals, int rows) {
    int blocks = (n + ROW_THREADS - 1) / ROW_THREADS;
    int block = blockIdx.x;
    if (block >= blocks) {
        const float* mine = losses + (long long)(block - blocks) * rows;
        double sum = 0;
        for (int i = threadIdx.x; i < rows; i += ROW_THREADS) {
            sum += mine[i];
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) {
            *totals[block - blocks] = float(sum);
        }
        return;
    }
    int i = block * ROW_THREADS + threadIdx.x;
    float sum = 0;
    if (i < n) {
        if (written[i / WARP] >> i % WARP & 1) {
#pragma unroll 8
            for (int b = 0; b < count; b++) {
                sum += parts[b * stride + i];
            }
            grads[i] = sum;
        } else {
            sum = grads[i];
        }
    }
    if (squares != nullptr) {
        sum = row_sum<ROW_THREADS>(sum * sum);
        if (threadIdx.x == 0) {
            squares[block] = sum;
        }
    }
}
