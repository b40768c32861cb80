// A Java array in native code.
#pragma once

#include <jni.h>

/** A Java array, or null, until the end of the scope: itself, not a copy, so that threads can fill parts of one. */
class JavaArray {
public:
    /** @param release 0 for an array that is written to, else JNI_ABORT */
    JavaArray(JNIEnv* env, jarray array, jint release)
        : env(env), array(array), release(release),
          elements(array ? env->GetPrimitiveArrayCritical(array, nullptr) : nullptr) {}

    ~JavaArray() {
        if (elements) {
            env->ReleasePrimitiveArrayCritical(array, elements, release);
        }
    }

    JavaArray(const JavaArray&) = delete;

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
