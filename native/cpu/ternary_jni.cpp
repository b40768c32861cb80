// What NativePackedKernels declares, which has checked all sizes.
#include "java_array.h"
#include "ternary.h"

namespace {

/** In the order of NativeLibrary.Instructions. */
const ternary::Kernels* const kernels[] = {&ternary::avx2, &ternary::avx512};

}  // namespace

extern "C" {

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativePackedKernels_multiply(
    JNIEnv* env, jclass, jint instructions, jbyteArray x, jint x_from, jfloatArray x_scales, jint x_scales_from,
    jintArray x_sums, jint x_sums_from, jbyteArray codes, jint codes_from, jfloatArray w_scales, jint w_scales_from,
    jfloatArray bias, jint bias_from, jfloatArray y, jint y_from, jint bits, jint rows, jint stride, jint out,
    jboolean relu, jint from_tile, jint to_tile) {
    JavaArray xs(env, x, JNI_ABORT);
    JavaArray x_scale(env, x_scales, JNI_ABORT);
    JavaArray x_sum(env, x_sums, JNI_ABORT);
    JavaArray code(env, codes, JNI_ABORT);
    JavaArray w_scale(env, w_scales, JNI_ABORT);
    JavaArray biases(env, bias, JNI_ABORT);
    JavaArray ys(env, y, 0);
    if (xs.failed() || x_scale.failed() || x_sum.failed() || code.failed() || w_scale.failed() || biases.failed()
        || ys.failed()) {
        return;
    }
    ternary::Product product = {
        xs.from<int8_t>(x_from), x_scale.from<float>(x_scales_from), x_sum.from<int32_t>(x_sums_from),
        code.from<uint8_t>(codes_from), w_scale.from<float>(w_scales_from), biases.from<float>(bias_from),
        ys.from<float>(y_from), bits, rows, stride, out, relu != JNI_FALSE,
    };
    kernels[instructions]->multiply(product, from_tile, to_tile);
}

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativePackedKernels_round(
    JNIEnv* env, jclass, jint instructions, jfloatArray x, jint x_from, jbyteArray values, jint values_from,
    jfloatArray scales, jint scales_from, jintArray sums, jint sums_from, jint rows, jint columns, jint stride) {
    JavaArray xs(env, x, JNI_ABORT);
    JavaArray value(env, values, 0);
    JavaArray scale(env, scales, 0);
    JavaArray sum(env, sums, 0);
    if (xs.failed() || value.failed() || scale.failed() || sum.failed()) {
        return;
    }
    ternary::Rounding rounding = {
        xs.from<float>(x_from), value.from<int8_t>(values_from), scale.from<float>(scales_from),
        sum.from<int32_t>(sums_from), rows, columns, stride,
    };
    kernels[instructions]->round(rounding);
}

}  // extern "C"
