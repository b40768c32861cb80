package io.github.drakegpt.backend;

import io.github.drakegpt.tensor.Precision;

/**
 * Options of a backend.
 *
 * @param threads CPU threads to use, at least 1
 * @param precision of its models
 * @param fuse whether a GPU may do several operations in one kernel; the results agree up to rounding
 */
public record BackendOptions(int threads, Precision precision, boolean fuse) {
    /** @throws IllegalArgumentException if there is no thread */
    public BackendOptions {
        if (threads < 1) {
            throw new IllegalArgumentException(threads + " threads are not possible; give 1 or more.");
        }
    }

    /** float32, on so many threads of a CPU. */
    public static BackendOptions ofThreads(int threads) {
        return new BackendOptions(threads, Precision.FP32, true);
    }
}
