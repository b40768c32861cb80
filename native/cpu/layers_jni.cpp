// What NativeLayerKernels declares, which has checked all sizes.
#include "java_array.h"
#include "layers.h"

namespace {

/** In the order of NativeLibrary.Instructions. */
const layers::Kernels* const kernels[] = {&layers::avx2, &layers::avx512};

}  // namespace

extern "C" {

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativeLayerKernels_layerNorm(
    JNIEnv* env, jclass, jint instructions, jfloatArray x, jint x_from, jfloatArray weight, jint weight_from,
    jfloatArray bias, jint bias_from, jfloatArray out, jint out_from, jfloatArray stats, jint stats_from, jint rows,
    jint c, jfloat eps) {
    JavaArray xs(env, x, JNI_ABORT);
    JavaArray weights(env, weight, JNI_ABORT);
    JavaArray biases(env, bias, JNI_ABORT);
    JavaArray outs(env, out, 0);
    JavaArray stat(env, stats, 0);
    if (xs.failed() || weights.failed() || biases.failed() || outs.failed() || stat.failed()) {
        return;
    }
    kernels[instructions]->layer_norm({
        xs.from<float>(x_from), weights.from<float>(weight_from), biases.from<float>(bias_from),
        outs.from<float>(out_from), stat.from<float>(stats_from), rows, c, eps,
    });
}

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativeLayerKernels_layerNormGrad(
    JNIEnv* env, jclass, jint instructions, jfloatArray x, jint x_from, jfloatArray weight, jint weight_from,
    jfloatArray stats, jint stats_from, jfloatArray dout, jint dout_from, jfloatArray dx, jint dx_from,
    jfloatArray products, jint rows, jint c) {
    JavaArray xs(env, x, JNI_ABORT);
    JavaArray weights(env, weight, JNI_ABORT);
    JavaArray stat(env, stats, JNI_ABORT);
    JavaArray douts(env, dout, JNI_ABORT);
    JavaArray dxs(env, dx, 0);
    JavaArray product(env, products, 0);
    if (xs.failed() || weights.failed() || stat.failed() || douts.failed() || dxs.failed() || product.failed()) {
        return;
    }
    kernels[instructions]->layer_norm_grad({
        xs.from<float>(x_from), weights.from<float>(weight_from), stat.from<float>(stats_from),
        douts.from<float>(dout_from), dxs.from<float>(dx_from), product.from<float>(0), rows, c,
    });
}

/** The gradient where dout and dqkv are not null. */
JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativeLayerKernels_attention(
    JNIEnv* env, jclass, jint instructions, jfloatArray qkv, jint qkv_from, jfloatArray out, jint out_from,
    jfloatArray stats, jint stats_from, jfloatArray dout, jint dout_from, jfloatArray dqkv, jint dqkv_from,
    jfloatArray mask, jfloatArray scratch, jfloat scale, jint batch, jint t, jint heads, jint head_size) {
    JavaArray qkvs(env, qkv, JNI_ABORT);
    JavaArray outs(env, out, 0);
    JavaArray stat(env, stats, 0);
    JavaArray douts(env, dout, JNI_ABORT);
    JavaArray dqkvs(env, dqkv, 0);
    JavaArray masks(env, mask, JNI_ABORT);
    JavaArray memory(env, scratch, JNI_ABORT);
    if (qkvs.failed() || outs.failed() || stat.failed() || douts.failed() || dqkvs.failed() || masks.failed()
        || memory.failed()) {
        return;
    }
    layers::Attention attention = {
        qkvs.from<float>(qkv_from), outs.from<float>(out_from), stat.from<float>(stats_from),
        douts.from<float>(dout_from), dqkvs.from<float>(dqkv_from), masks.from<float>(0), memory.from<float>(0), scale,
        batch, t, heads, head_size,
    };
    (dqkv ? kernels[instructions]->attention_grad : kernels[instructions]->attention)(attention);
}

}  // extern "C"
