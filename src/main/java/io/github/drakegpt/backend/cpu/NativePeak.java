package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;

/** Measures the rate of the processor's fused multiply-adds, which no training step can exceed. */
final class NativePeak {
    private static final int NUMBERS = 192; // as in native/cpu/peak.h
    /** Of a run: some milliseconds, beside which starting the threads is nothing, and which others rarely interrupt. */
    private static final int TURNS = 1 << 20;

    private static final double SECONDS = 1;

    private final Instructions instructions;

    NativePeak(Instructions instructions) {
        this.instructions = instructions;
    }

    /** Multiplications and additions a second of all threads together: the best of the runs of a second. */
    double flops(Workers workers) {
        float[][] numbers = new float[workers.count()][NUMBERS];
        for (float[] ofThread : numbers) {
            for (int i = 0; i < NUMBERS; i++) {
                ofThread[i] = i; // all different, so that no compiler can merge chains
            }
        }
        long best = Long.MAX_VALUE;
        long begin = System.nanoTime();
        for (long start = begin; start - begin < 1e9 * SECONDS; ) {
            // the numbers tend to 2: none becomes so small or large that it takes longer
            workers.run(workers.count(), thread -> multiplyAndAdd(numbers[thread], TURNS, 0.5f, 1));
            long end = System.nanoTime();
            best = Math.min(best, end - start);
            start = end;
        }
        return 2.0 * NUMBERS * TURNS * workers.count() / (1e-9 * best);
    }

    /** {@code x} = {@code x factor + addend}, {@code turns} times. */
    void multiplyAndAdd(float[] x, int turns, float factor, float addend) {
        Scratch.get()
                .call(instructions, Kernel.PEAK)
                .write(x, NUMBERS)
                .number(turns)
                .number(factor)
                .number(addend)
                .run();
    }
}
