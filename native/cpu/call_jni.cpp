// The one way from Java to the kernels: what NativeCall declares.
#include "call.h"

#include <jni.h>

namespace {

constexpr int MOST_ARRAYS = 16;  // as NativeCall's

/** In the order of NativeLibrary.Instructions. */
const Kernel* const kernels[] = {avx2_kernels, avx512_kernels};

/** Java arrays until the end of the scope: themselves, not copies, so that threads can fill parts of one. */
class Arrays {
public:
    /** @param written a bit for each array, set where the kernel writes to it */
    Arrays(JNIEnv* env, jobjectArray all, int count, int written) : env(env), written(written) {
        for (int i = 0; i < count; i++) {  // before the first is taken: no other call may be in between
            arrays[i] = static_cast<jarray>(env->GetObjectArrayElement(all, i));
        }
        for (; taken < count; taken++) {
            elements[taken] = arrays[taken] ? env->GetPrimitiveArrayCritical(arrays[taken], nullptr) : nullptr;
            if (arrays[taken] && !elements[taken]) {
                failed = true;  // no memory for it; Java throws OutOfMemoryError
                return;
            }
        }
    }

    ~Arrays() {
        while (--taken >= 0) {
            if (elements[taken]) {
                jint mode = written >> taken & 1 ? 0 : JNI_ABORT;
                env->ReleasePrimitiveArrayCritical(arrays[taken], elements[taken], mode);
            }
        }
    }

    Arrays(const Arrays&) = delete;

    void* elements[MOST_ARRAYS];
    bool failed = false;

private:
    JNIEnv* env;
    int written;
    int taken = 0;
    jarray arrays[MOST_ARRAYS];
};

}  // namespace

extern "C" {

JNIEXPORT void JNICALL Java_io_github_drakegpt_backend_cpu_NativeCall_run(
    JNIEnv* env, jclass, jint instructions, jint kernel, jint count, jint written, jobjectArray all, jintArray numbers) {
    int32_t copied[3 * MOST_ARRAYS];
    env->GetIntArrayRegion(numbers, 0, 3 * MOST_ARRAYS, copied);
    Arrays arrays(env, all, count, written);
    if (!arrays.failed) {
        kernels[instructions][kernel](Call(arrays.elements, copied, copied + MOST_ARRAYS));
    }
}

/** The number of instruction sets, from the first on, that this processor and its system have. */
JNIEXPORT jint JNICALL Java_io_github_drakegpt_backend_cpu_NativeLibrary_supported(JNIEnv*, jclass) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return 0;
    }
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vnni");
    return avx512 ? 2 : 1;
}

}  // extern "C"
