// What NativeBlas declares, which has checked all sizes: OpenBLAS on Java's arrays.
#include "java_array.h"

#include <dlfcn.h>

namespace {

// as cblas.h declares them; int is blasint, since the library is built for 32-bit indices
enum Order { ROW_MAJOR = 101 };
enum Transpose { NO = 111, YES = 112 };

void (*sgemm)(Order, Transpose, Transpose, int, int, int, float, const float*, int, const float*, int, float, float*, int);
void (*sgemv)(Order, Transpose, int, int, float, const float*, int, const float*, int, float, float*, int);

Transpose op(jboolean transpose) {
    return transpose ? YES : NO;
}

template <typename Function>
bool find(void* library, const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library, name));
    return function != nullptr;
}

}  // namespace

extern "C" {

/** Finds the functions in a library that is loaded, and has it run on the thread that calls it. */
JNIEXPORT jboolean JNICALL Java_io_github_drakegpt_backend_cpu_NativeBlas_open(JNIEnv* env, jclass, jstring path) {
    const char* chars = env->GetStringUTFChars(path, nullptr);
    if (!chars) {
        return JNI_FALSE;
    }
    void* library = dlopen(chars, RTLD_NOW);
    env->ReleaseStringUTFChars(path, chars);
    void (*set_threads)(int);
    if (!library || !find(library, "openblas_set_num_threads", set_threads) || !find(library, "cblas_sgemm", sgemm)
        || !find(library, "cblas_sgemv", sgemv)) {
        return JNI_FALSE;
    }
    set_threads(1);
    return JNI_TRUE;
}

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativeBlas_sgemm(
    JNIEnv* env, jclass, jboolean trans_a, jboolean trans_b, jint m, jint n, jint k, jfloat alpha, jfloatArray a,
    jint a_from, jint lda, jfloatArray b, jint b_from, jint ldb, jfloat beta, jfloatArray c, jint c_from, jint ldc) {
    JavaArray as(env, a, JNI_ABORT);
    JavaArray bs(env, b, JNI_ABORT);
    JavaArray cs(env, c, 0);
    if (as.failed() || bs.failed() || cs.failed()) {
        return;
    }
    sgemm(
        ROW_MAJOR, op(trans_a), op(trans_b), m, n, k, alpha, as.from<float>(a_from), lda, bs.from<float>(b_from), ldb,
        beta, cs.from<float>(c_from), ldc);
}

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativeBlas_sgemv(
    JNIEnv* env, jclass, jboolean trans_a, jint m, jint n, jfloatArray a, jint a_from, jint lda, jfloatArray x,
    jint x_from, jfloat beta, jfloatArray y, jint y_from) {
    JavaArray as(env, a, JNI_ABORT);
    JavaArray xs(env, x, JNI_ABORT);
    JavaArray ys(env, y, 0);
    if (as.failed() || xs.failed() || ys.failed()) {
        return;
    }
    sgemv(
        ROW_MAJOR, op(trans_a), m, n, 1, as.from<float>(a_from), lda, xs.from<float>(x_from), 1, beta,
        ys.from<float>(y_from), 1);
}

}  // extern "C"
