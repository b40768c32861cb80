// The one way from Java to the kernels: what NativeCall declares.
#include "call.h"

#include <jni.h>

#if defined __x86_64__
#include "tiles.h"
#endif

namespace {

constexpr int MOST_ARRAYS = 8;  // as NativeCall's

/** In the order of NativeLibrary.Instructions; null for those of other processors. */
#if defined __x86_64__
const Kernel* const kernels[] = {avx2_kernels, avx512_kernels, amx_kernels, nullptr};
#else
const Kernel* const kernels[] = {nullptr, nullptr, nullptr, neon_kernels};
#endif

/** Java arrays until the end of the scope: themselves, not copies, so that threads can fill parts of one. */
class Arrays {
public:
    /** @param written a bit for each array, set where the kernel writes to it */
    Arrays(JNIEnv* env, const jobject (&all)[MOST_ARRAYS], int written) : env(env), arrays(all), written(written) {
        for (; taken < MOST_ARRAYS; taken++) {
            auto array = static_cast<jarray>(arrays[taken]);
            elements[taken] = array ? env->GetPrimitiveArrayCritical(array, nullptr) : nullptr;
            if (array && !elements[taken]) {
                failed = true;  // no memory for it; Java throws OutOfMemoryError
                return;
            }
        }
    }

    ~Arrays() {
        while (--taken >= 0) {
            if (elements[taken]) {
                jint mode = written >> taken & 1 ? 0 : JNI_ABORT;
                env->ReleasePrimitiveArrayCritical(static_cast<jarray>(arrays[taken]), elements[taken], mode);
            }
        }
    }

    Arrays(const Arrays&) = delete;

    void* elements[MOST_ARRAYS];
    bool failed = false;

private:
    JNIEnv* env;
    const jobject (&arrays)[MOST_ARRAYS];
    int written;
    int taken = 0;
};

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_io_github_drakegpt_backend_cpu_NativeCall_address(JNIEnv* env, jclass, jobject memory) {
    return reinterpret_cast<jlong>(env->GetDirectBufferAddress(memory));
}

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativeCall_run(
    JNIEnv* env, jclass, jint instructions, jint kernel, jint written, jlong numbers, jobject a0, jobject a1, jobject a2,
    jobject a3, jobject a4, jobject a5, jobject a6, jobject a7) {
    const jobject all[MOST_ARRAYS] = {a0, a1, a2, a3, a4, a5, a6, a7};
    Arrays arrays(env, all, written);
    if (!arrays.failed) {
        auto starts = reinterpret_cast<const int32_t*>(numbers);
        kernels[instructions][kernel](Call(arrays.elements, starts, starts + MOST_ARRAYS));
    }
}

/** The instruction sets that this processor and its system have: a bit for each. */
JNIEXPORT jint JNICALL Java_io_github_drakegpt_backend_cpu_NativeLibrary_supported(JNIEnv*, jclass) {
#if defined __x86_64__
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vnni");
    bool amx = avx512 && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8")
        && __builtin_cpu_supports("amx-bf16") && request_tiles();
    return avx2 | avx512 << 1 | amx << 2;
#else
    return 1 << 3;  // each aarch64 has NEON
#endif
}

}  // extern "C"
