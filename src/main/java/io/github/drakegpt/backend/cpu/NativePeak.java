package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import java.util.function.IntToDoubleFunction;

/** Measures what no product of all threads together can exceed. */
final class NativePeak {
    private static final int NUMBERS = 192; // as in native/cpu/peak.h
    /** Of a run: some milliseconds, beside which starting the threads is nothing, and which others rarely interrupt. */
    private static final int TURNS = 1 << 20;
    /** Of memory that all threads together read: more than a processor's caches. */
    private static final int MEMORY_FLOATS = 256 << 18;

    private static final double SECONDS = 1;

    private final Instructions instructions;
    private final Workers workers;

    NativePeak(Instructions instructions, Workers workers) {
        this.instructions = instructions;
        this.workers = workers;
    }

    /** How many in a second: the best of the runs of a second. */
    double perSecond(Bound bound) {
        return switch (bound) {
            case FP32 -> multiplied();
            case BF16 -> instructions == Instructions.AMX ? of(thread -> repeat(Kernel.PEAK_BF16)) : multiplied();
            case INT8 -> of(thread -> repeat(Kernel.PEAK_INT8));
            case READ -> read();
        };
    }

    private double multiplied() {
        float[][] numbers = new float[workers.count()][NUMBERS];
        for (float[] ofThread : numbers) {
            for (int i = 0; i < NUMBERS; i++) {
                ofThread[i] = i; // all different, so that no compiler can merge chains
            }
        }
        // the numbers tend to 2: none becomes so small or large that it takes longer
        return of(thread -> multiplyAndAdd(instructions, numbers[thread], TURNS, 0.5f, 1));
    }

    private double read() {
        float[] memory = new float[MEMORY_FLOATS];
        int each = MEMORY_FLOATS / workers.count();
        return of(thread -> {
            Scratch scratch = Scratch.get();
            scratch.call(instructions, Kernel.READ)
                    .write(scratch.floats(0, 1), 1)
                    .read(memory, thread * each, each)
                    .number(each)
                    .run();
            return (double) Float.BYTES * each;
        });
    }

    /** @param run for each thread; returns how many these were */
    private double of(IntToDoubleFunction run) {
        double[] done = new double[workers.count()];
        double best = 0;
        long begin = System.nanoTime();
        for (long start = begin; start - begin < 1e9 * SECONDS; ) {
            workers.run(done.length, thread -> done[thread] = run.applyAsDouble(thread));
            long end = System.nanoTime();
            double all = 0;
            for (double ofThread : done) {
                all += ofThread;
            }
            best = Math.max(best, all / (1e-9 * (end - start)));
            start = end;
        }
        return best;
    }

    private double repeat(Kernel kernel) {
        Scratch scratch = Scratch.get();
        float[] operations = scratch.floats(0, 1);
        scratch.call(instructions, kernel).write(operations, 1).number(TURNS).run();
        return operations[0];
    }

    /** {@code x} = {@code x factor + addend}, {@code turns} times; returns how many multiplications and additions. */
    static double multiplyAndAdd(Instructions instructions, float[] x, int turns, float factor, float addend) {
        Scratch scratch = Scratch.get();
        float[] operations = scratch.floats(0, 1);
        scratch.call(instructions, Kernel.PEAK_FP32)
                .write(operations, 1)
                .write(x, NUMBERS)
                .number(turns)
                .number(factor)
                .number(addend)
                .run();
        return operations[0];
    }
}
