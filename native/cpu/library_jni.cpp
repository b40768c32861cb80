// What NativeLibrary declares.
#include <jni.h>

extern "C" {

/** How many of the instructions, from the first on, this processor and its system have. */
JNIEXPORT jint JNICALL Java_io_github_drakegpt_backend_cpu_NativeLibrary_supported(JNIEnv*, jclass) {
    if (!__builtin_cpu_supports("avx2")) {
        return 0;
    }
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vnni");
    return avx512 ? 2 : 1;
}

}  // extern "C"
