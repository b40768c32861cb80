// What NativePackedKernels declares, which has checked all sizes.
#include "ternary.h"

#include <jni.h>

namespace {

/** A Java array, or null, until the end of the scope: itself, not a copy, so that threads can fill parts of one. */
class Array {
public:
    /** @param release 0 for an array that is written to, else JNI_ABORT */
    Array(JNIEnv* env, jarray array, jint release)
        : env(env), array(array), release(release),
          elements(array ? env->GetPrimitiveArrayCritical(array, nullptr) : nullptr) {}

    ~Array() {
        if (elements) {
            env->ReleasePrimitiveArrayCritical(array, elements, release);
        }
    }

    Array(const Array&) = delete;

    template <typename T>
    T* from(jint index) const {
        return elements ? static_cast<T*>(elements) + index : nullptr;
    }

    /** Whether there was no memory for it; Java throws OutOfMemoryError then. */
    bool failed() const { return array && !elements; }

private:
    JNIEnv* env;
    jarray array;
    jint release;
    void* elements;
};

/** In the order of NativePackedKernels.Instructions. */
const ternary::Kernels* const kernels[] = {&ternary::avx2, &ternary::avx512};

}  // namespace

extern "C" {

/** How many of the instructions, from the first on, this processor and its system have. */
JNIEXPORT jint JNICALL Java_io_github_drakegpt_backend_cpu_NativePackedKernels_supported(JNIEnv*, jclass) {
    if (!__builtin_cpu_supports("avx2")) {
        return 0;
    }
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vnni");
    return avx512 ? 2 : 1;
}

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativePackedKernels_multiply(
    JNIEnv* env, jclass, jint instructions, jbyteArray x, jint x_from, jfloatArray x_scales, jint x_scales_from,
    jintArray x_sums, jint x_sums_from, jbyteArray codes, jint codes_from, jfloatArray w_scales, jint w_scales_from,
    jfloatArray bias, jint bias_from, jfloatArray y, jint y_from, jint bits, jint rows, jint stride, jint out,
    jboolean relu, jint from_tile, jint to_tile) {
    Array xs(env, x, JNI_ABORT);
    Array x_scale(env, x_scales, JNI_ABORT);
    Array x_sum(env, x_sums, JNI_ABORT);
    Array code(env, codes, JNI_ABORT);
    Array w_scale(env, w_scales, JNI_ABORT);
    Array biases(env, bias, JNI_ABORT);
    Array ys(env, y, 0);
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
    Array xs(env, x, JNI_ABORT);
    Array value(env, values, 0);
    Array scale(env, scales, 0);
    Array sum(env, sums, 0);
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
