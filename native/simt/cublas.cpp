// libcublas.so.12 for the SIMT driver: the matrix products that are used here, column by column as in cuBLAS.
//
// Each sum runs over k from first to last in fp32 (int32 for int8), whatever the size of the matrices, so results do not depend
// on how a product is cut into parts.
#include "enqueue.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <unordered_set>
#include <vector>

extern "C" CUresult cuCtxSynchronize();

namespace {

enum Status {
    SUCCESS = 0,
    NOT_INITIALIZED = 1,
    ALLOC_FAILED = 3,
    INVALID_VALUE = 7,
    EXECUTION_FAILED = 13,
    NOT_SUPPORTED = 15,
};

enum Type { BF16 = 14, FP32 = 0, INT8 = 3, INT32 = 10 };

enum Compute { COMPUTE_32F = 68, COMPUTE_32F_PEDANTIC = 69, COMPUTE_32I = 72, COMPUTE_32I_PEDANTIC = 73, FAST_16F = 74, FAST_16BF = 75,
    FAST_TF32 = 77 };

struct Handle {
    void* stream;
    bool has_workspace;  // one that the caller gave
    int math_mode;
    int pointer_mode;
    int atomics_mode;
    bool used;
};
std::unordered_set<Handle*> handles;
std::mutex handles_lock;

bool is_handle(Handle* handle) {
    std::lock_guard<std::mutex> guard(handles_lock);
    return handles.count(handle) != 0;
}

struct Matrix {
    const void* data;
    int type;
    long long ld;
    bool transposed;
};

struct Product {
    const char* name;
    int m, n, k;
    Matrix a, b;
    void* c;
    int c_type;
    long long ldc;
    // Read when the work runs if they lie on the device; copied at the call if they lie on the host.
    const void* alpha_on_device;
    const void* beta_on_device;
    float alpha, beta;
    bool integer;
};

size_t bytes_of(int type) { return type == FP32 || type == INT32 ? 4 : type == BF16 ? 2 : 1; }

float to_float(const void* data, int type, size_t index) {
    if (type == FP32) {
        return static_cast<const float*>(data)[index];
    }
    uint32_t bits = uint32_t(static_cast<const uint16_t*>(data)[index]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

void store(void* data, int type, size_t index, float value) {
    if (type == FP32) {
        static_cast<float*>(data)[index] = value;
        return;
    }
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    static_cast<uint16_t*>(data)[index] = value != value ? 0x7fff : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Sixteen rows of A against six columns of B keep all vector registers busy.
constexpr int ROWS = 16, COLUMNS = 6;
typedef float Vector __attribute__((vector_size(32)));

// Element (row, inner) of op(A), or (inner, column) of op(B), seen as lines along k.
struct Lines {
    const void* data;
    int type;
    size_t line_step, inner_step;
};

// Panels of `width` lines, element by element along k; the lines that are missing in the last panel are zero.
std::vector<float> pack(const Lines& lines, int count, int k, int width) {
    std::vector<float> packed(size_t((count + width - 1) / width) * width * k);
    for (int line = 0; line < count; line++) {
        float* to = packed.data() + size_t(line / width) * width * k + line % width;
        size_t from = line * lines.line_step;
        for (int i = 0; i < k; i++) {
            to[size_t(i) * width] = to_float(lines.data, lines.type, from + i * lines.inner_step);
        }
    }
    return packed;
}

void multiply_panels(const float* a, const float* b, int k, float (&sums)[COLUMNS][ROWS]) {
    Vector low[COLUMNS] = {}, high[COLUMNS] = {};
    for (int i = 0; i < k; i++) {
        Vector a_low, a_high;
        std::memcpy(&a_low, a + size_t(i) * ROWS, sizeof a_low);
        std::memcpy(&a_high, a + size_t(i) * ROWS + 8, sizeof a_high);
        for (int j = 0; j < COLUMNS; j++) {
            float factor = b[size_t(i) * COLUMNS + j];
            low[j] += a_low * factor;
            high[j] += a_high * factor;
        }
    }
    for (int j = 0; j < COLUMNS; j++) {
        std::memcpy(sums[j], &low[j], sizeof low[j]);
        std::memcpy(sums[j] + 8, &high[j], sizeof high[j]);
    }
}

void multiply_floats(const Product& p, const Lines& a, const Lines& b, void* c, float alpha, float beta) {
    std::vector<float> packed_a = pack(a, p.m, p.k, ROWS), packed_b = pack(b, p.n, p.k, COLUMNS);
    float sums[COLUMNS][ROWS];
    for (int column = 0; column < p.n; column += COLUMNS) {
        for (int row = 0; row < p.m; row += ROWS) {
            multiply_panels(packed_a.data() + size_t(row) * p.k, packed_b.data() + size_t(column) * p.k, p.k, sums);
            for (int j = 0; j < std::min(COLUMNS, p.n - column); j++) {
                for (int i = 0; i < std::min(ROWS, p.m - row); i++) {
                    size_t index = size_t(column + j) * p.ldc + row + i;
                    float value = alpha * sums[j][i];
                    store(c, p.c_type, index, beta == 0.0f ? value : value + beta * to_float(c, p.c_type, index));
                }
            }
        }
    }
}

void multiply_integers(const Product& p, const Lines& a, const Lines& b, void* c, int alpha, int beta) {
    auto a_data = static_cast<const int8_t*>(a.data), b_data = static_cast<const int8_t*>(b.data);
    auto c_data = static_cast<int32_t*>(c);
    for (int column = 0; column < p.n; column++) {
        for (int row = 0; row < p.m; row++) {
            int32_t sum = 0;
            for (int i = 0; i < p.k; i++) {
                sum += a_data[row * a.line_step + i * a.inner_step] * b_data[column * b.line_step + i * b.inner_step];
            }
            int32_t& target = c_data[size_t(column) * p.ldc + row];
            target = alpha * sum + (beta == 0 ? 0 : beta * target);
        }
    }
}

// From the first to the last element of a matrix of rows x columns.
size_t span(long long rows, long long columns, long long ld, int type) {
    return rows == 0 || columns == 0 ? 0 : size_t((columns - 1) * ld + rows) * bytes_of(type);
}

bool check_matrix(const Product& p, const Matrix& matrix, int rows, int columns) {
    size_t bytes = matrix.transposed ? span(columns, rows, matrix.ld, matrix.type) : span(rows, columns, matrix.ld, matrix.type);
    return simt::check_range(p.name, matrix.data, bytes, false);
}

Lines lines_of(const Matrix& matrix, bool along_rows) {
    bool contiguous = along_rows == matrix.transposed;
    return {matrix.data, matrix.type, contiguous ? size_t(matrix.ld) : 1, contiguous ? 1 : size_t(matrix.ld)};
}

void run(const Product& p) {
    float alpha = p.alpha, beta = p.beta;
    if (p.alpha_on_device != nullptr) {
        if (!simt::check_range(p.name, p.alpha_on_device, 4, false) || !simt::check_range(p.name, p.beta_on_device, 4, false)) {
            return;
        }
        if (p.integer) {
            alpha = float(*static_cast<const int*>(p.alpha_on_device));
            beta = float(*static_cast<const int*>(p.beta_on_device));
        } else {
            alpha = *static_cast<const float*>(p.alpha_on_device);
            beta = *static_cast<const float*>(p.beta_on_device);
        }
    }
    bool valid = simt::check_range(p.name, p.c, span(p.m, p.n, p.ldc, p.c_type), true)
            && (p.k == 0 || (check_matrix(p, p.a, p.m, p.k) && check_matrix(p, p.b, p.k, p.n)));
    if (!valid) {
        return;
    }
    Lines a = lines_of(p.a, true), b = lines_of(p.b, false);
    if (p.integer) {
        multiply_integers(p, a, b, p.c, int(alpha), int(beta));
    } else {
        multiply_floats(p, a, b, p.c, alpha, beta);
    }
}

// A handle of NVIDIA's may set itself up at its first product, by calls that a capture refuses. Here it always does.
bool set_up(Handle* handle, const char* name) {
    if (!handle->used && simt::is_capturing(handle->stream)) {
        std::fprintf(stderr, "simt: %s is the first product of its handle and is captured: multiply once before\n", name);
        return false;
    }
    handle->used = true;
    return true;
}

bool is_bit(const void* integer) { return (*static_cast<const int*>(integer) & ~1) == 0; }

bool aligned(const void* data, int type) { return uintptr_t(data) % bytes_of(type) == 0; }

Status gemm(Handle* handle, const char* name, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a, int a_type, long long lda,
        const void* b, int b_type, long long ldb, const void* beta, void* c, int c_type, long long ldc, int compute) {
    if (!is_handle(handle)) {
        return NOT_INITIALIZED;
    }
    bool integer = compute == COMPUTE_32I || compute == COMPUTE_32I_PEDANTIC;
    bool floating = compute == COMPUTE_32F || compute == COMPUTE_32F_PEDANTIC || (compute >= FAST_16F && compute <= FAST_TF32);
    bool types = integer ? a_type == INT8 && b_type == INT8 && c_type == INT32
                         : (a_type == FP32 && b_type == FP32 && c_type == FP32)
                                    || (a_type == BF16 && b_type == BF16 && (c_type == BF16 || c_type == FP32));
    // The fast kinds of arithmetic are for fp32 matrices only.
    if (!(integer || floating) || !types || (compute >= FAST_16F && a_type != FP32)) {
        return NOT_SUPPORTED;
    }
    bool transpose_a = op_a != 0, transpose_b = op_b != 0;
    if (op_a < 0 || op_a > 2 || op_b < 0 || op_b > 2 || m < 0 || n < 0 || k < 0 || alpha == nullptr || beta == nullptr
            || lda < std::max(1, transpose_a ? k : m) || ldb < std::max(1, transpose_b ? n : k) || ldc < std::max(1, m)
            || !aligned(a, a_type) || !aligned(b, b_type) || !aligned(c, c_type)) {
        return INVALID_VALUE;
    }
    // What NVIDIA's documentation says of int8: A and B at multiples of 4 bytes, their leading dimensions too, and alpha and beta 1 or 0.
    if (integer && (uintptr_t(a) % 4 != 0 || uintptr_t(b) % 4 != 0 || lda % 4 != 0 || ldb % 4 != 0
            || (handle->pointer_mode == 0 && !(is_bit(alpha) && is_bit(beta))))) {
        return NOT_SUPPORTED;
    }
    if (m == 0 || n == 0) {
        return SUCCESS;
    }
    if (simt::product_refused()) {
        return NOT_SUPPORTED;
    }
    if (!handle->has_workspace && simt::is_capturing(handle->stream)) {
        std::fprintf(stderr, "simt: %s would put the allocation of its workspace into the graph, which is not known here: give the handle"
                " one with cublasSetWorkspace after cublasSetStream, which takes it away\n", name);
        return NOT_SUPPORTED;
    }
    Product product{name, m, n, k, {a, a_type, lda, transpose_a}, {b, b_type, ldb, transpose_b}, c, c_type, ldc,
            nullptr, nullptr, 0, 0, integer};
    if (handle->pointer_mode == 1) {
        product.alpha_on_device = alpha;
        product.beta_on_device = beta;
    } else {
        product.alpha = integer ? float(*static_cast<const int*>(alpha)) : *static_cast<const float*>(alpha);
        product.beta = integer ? float(*static_cast<const int*>(beta)) : *static_cast<const float*>(beta);
    }
    if (!set_up(handle, name)) {
        return EXECUTION_FAILED;
    }
    return simt::enqueue(handle->stream, name, [product] { run(product); }) == 0 ? SUCCESS : EXECUTION_FAILED;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

Status cublasCreate_v2(Handle** handle) {
    if (CUresult error = simt::may_allocate()) {
        return error >= 900 && error < 910 ? ALLOC_FAILED : NOT_INITIALIZED;  // those of capture
    }
    *handle = new Handle{};
    std::lock_guard<std::mutex> guard(handles_lock);
    handles.insert(*handle);
    return SUCCESS;
}

Status cublasDestroy_v2(Handle* handle) {
    {
        std::lock_guard<std::mutex> guard(handles_lock);
        if (handles.erase(handle) == 0) {
            return NOT_INITIALIZED;
        }
    }
    delete handle;
    cuCtxSynchronize();  // as documented; what it finds is for the next call of the driver to tell
    return SUCCESS;
}

#define SETTING(set, get, type, field, valid, effect) \
    Status set(Handle* handle, type value) { \
        if (!is_handle(handle)) { \
            return NOT_INITIALIZED; \
        } \
        if (!(valid)) { \
            return INVALID_VALUE; \
        } \
        handle->field = value; \
        effect; \
        return SUCCESS; \
    } \
    Status get(Handle* handle, type* value) { \
        if (!is_handle(handle)) { \
            return NOT_INITIALIZED; \
        } \
        *value = handle->field; \
        return SUCCESS; \
    }
SETTING(cublasSetStream_v2, cublasGetStream_v2, void*, stream, true, handle->has_workspace = false)
// CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, 16, may be added to any of the modes.
SETTING(cublasSetMathMode, cublasGetMathMode, int, math_mode, (value & ~16) >= 0 && (value & ~16) <= 3, )
SETTING(cublasSetPointerMode_v2, cublasGetPointerMode_v2, int, pointer_mode, value == 0 || value == 1, )
SETTING(cublasSetAtomicsMode, cublasGetAtomicsMode, int, atomics_mode, value == 0 || value == 1, )
#undef SETTING

Status cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t bytes) {
    if (!is_handle(handle)) {
        return NOT_INITIALIZED;
    }
    bool usable = uintptr_t(workspace) % 256 == 0 && (bytes == 0 || simt::check_range("cublasSetWorkspace", workspace, bytes, true));
    if (!usable) {
        return INVALID_VALUE;
    }
    handle->has_workspace = workspace != nullptr && bytes != 0;
    return SUCCESS;
}

Status cublasGetVersion_v2(Handle*, int* version) {
    *version = 120600;
    return SUCCESS;
}

Status cublasGetProperty(int property, int* value) {
    constexpr int VERSION[] = {12, 6, 0};
    if (property < 0 || property > 2) {
        return INVALID_VALUE;
    }
    *value = VERSION[property];
    return SUCCESS;
}

size_t cublasGetCudartVersion() { return 12060; }

const char* cublasGetStatusName(Status status) {
    switch (status) {
        case SUCCESS: return "CUBLAS_STATUS_SUCCESS";
        case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
        case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
        case EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
        case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown cuBLAS status";
}

const char* cublasGetStatusString(Status status) { return cublasGetStatusName(status); }

Status cublasGemmEx(Handle* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a, int a_type, int lda, const void* b,
        int b_type, int ldb, const void* beta, void* c, int c_type, int ldc, int compute, int) {
    return gemm(handle, "cublasGemmEx", op_a, op_b, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute);
}

Status cublasSgemm_v2(Handle* handle, int op_a, int op_b, int m, int n, int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
        const float* beta, float* c, int ldc) {
    return gemm(handle, "cublasSgemm", op_a, op_b, m, n, k, alpha, a, FP32, lda, b, FP32, ldb, beta, c, FP32, ldc, COMPUTE_32F);
}

// y = alpha op(A) x + beta y is a product whose B has one row in memory, of elements incx apart.
Status cublasSgemv_v2(Handle* handle, int op, int m, int n, const float* alpha, const float* a, int lda, const float* x, int incx, const float* beta,
        float* y, int incy) {
    if (incx <= 0 || incy != 1) {
        return incx == 0 || incy == 0 ? INVALID_VALUE : NOT_SUPPORTED;
    }
    int rows = op == 0 ? m : n, inner = op == 0 ? n : m;
    return gemm(handle, "cublasSgemv", op, 1, rows, 1, inner, alpha, a, FP32, lda, x, FP32, incx, beta, y, FP32, std::max(1, rows), COMPUTE_32F);
}

}
#pragma GCC visibility pop
