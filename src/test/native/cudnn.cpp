// A cuDNN for the SIMT driver, whose device memory is the host's: softmax and ReLU of float32, done at once.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>

namespace {
enum Status { SUCCESS = 0, NOT_INITIALIZED = 1001, BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };
struct Tensor { int dtype, n, c, h, w; };
struct Activation { int mode; };

bool rows(const Tensor *t) { return t && t->dtype == 0 && t->h == 1 && t->w == 1; }
bool same(const Tensor *a, const Tensor *b) { return rows(a) && rows(b) && a->n == b->n && a->c == b->c; }
bool plain(const void *alpha, const void *beta) { return *(const float *)alpha == 1 && *(const float *)beta == 0; }
} // namespace

extern "C" {
size_t cudnnGetVersion() { return 90501; }
size_t cudnnGetCudartVersion() { return 12060; }
const char *cudnnGetErrorString(int status) {
    return status == SUCCESS           ? "CUDNN_STATUS_SUCCESS"
           : status == NOT_INITIALIZED ? "CUDNN_STATUS_NOT_INITIALIZED"
           : status == NOT_SUPPORTED   ? "CUDNN_STATUS_NOT_SUPPORTED"
                                       : "CUDNN_STATUS_BAD_PARAM";
}
int cudnnCreate(void **handle) {
    if (std::getenv("STUB_NO_CUDNN")) return NOT_INITIALIZED;
    *handle = new int;
    return SUCCESS;
}
int cudnnDestroy(void *handle) { delete (int *)handle; return SUCCESS; }
int cudnnSetStream(void *, void *stream) { return stream ? SUCCESS : BAD_PARAM; }

int cudnnCreateTensorDescriptor(Tensor **t) { *t = new Tensor{}; return SUCCESS; }
int cudnnDestroyTensorDescriptor(Tensor *t) { delete t; return SUCCESS; }
int cudnnSetTensor4dDescriptor(Tensor *t, int format, int dtype, int n, int c, int h, int w) {
    *t = Tensor{dtype, n, c, h, w};
    return format != 0 ? BAD_PARAM : dtype != 0 ? NOT_SUPPORTED : SUCCESS;
}
int cudnnCreateActivationDescriptor(Activation **a) { *a = new Activation{}; return SUCCESS; }
int cudnnDestroyActivationDescriptor(Activation *a) { delete a; return SUCCESS; }
int cudnnSetActivationDescriptor(Activation *a, int mode, int, double) {
    a->mode = mode;
    return SUCCESS;
}

int cudnnSoftmaxForward(void *, int algorithm, int mode, const void *alpha, Tensor *xd, const float *x, const void *beta,
                        Tensor *yd, float *y) {
    if (algorithm != 1 || mode != 0 || !same(xd, yd) || !plain(alpha, beta)) return BAD_PARAM;
    for (int r = 0; r < xd->n; r++, x += xd->c, y += xd->c) {
        float top = *std::max_element(x, x + xd->c), sum = 0;
        for (int i = 0; i < xd->c; i++) sum += y[i] = std::exp(x[i] - top);
        for (int i = 0; i < xd->c; i++) y[i] /= sum;
    }
    return SUCCESS;
}

int cudnnSoftmaxBackward(void *, int algorithm, int mode, const void *alpha, Tensor *yd, const float *y, Tensor *dyd,
                         const float *dy, const void *beta, Tensor *dxd, float *dx) {
    if (algorithm != 1 || mode != 0 || !same(yd, dyd) || !same(yd, dxd) || !plain(alpha, beta)) return BAD_PARAM;
    for (int r = 0; r < yd->n; r++, y += yd->c, dy += yd->c, dx += yd->c) {
        float dot = 0;
        for (int i = 0; i < yd->c; i++) dot += y[i] * dy[i];
        for (int i = 0; i < yd->c; i++) dx[i] = y[i] * (dy[i] - dot);
    }
    return SUCCESS;
}

int cudnnActivationForward(void *, Activation *a, const void *alpha, Tensor *xd, const float *x, const void *beta, Tensor *yd,
                           float *y) {
    if (a->mode != 1 || !same(xd, yd) || !plain(alpha, beta)) return BAD_PARAM;
    for (int i = 0; i < xd->n * xd->c; i++) y[i] = std::max(x[i], 0.0f);
    return SUCCESS;
}

int cudnnActivationBackward(void *, Activation *a, const void *alpha, Tensor *yd, const float *, Tensor *dyd, const float *dy,
                            Tensor *xd, const float *x, const void *beta, Tensor *dxd, float *dx) {
    if (a->mode != 1 || !same(yd, dyd) || !same(yd, xd) || !same(yd, dxd) || !plain(alpha, beta)) return BAD_PARAM;
    for (int i = 0; i < xd->n * xd->c; i++) dx[i] = x[i] > 0 ? dy[i] : 0;
    return SUCCESS;
}
}
