package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.RandomStream;

/** Masks of dropout in native code: the bits of {@link JavaDropout}. */
final class NativeDropout extends JavaDropout {
    private final Instructions instructions;

    NativeDropout(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    void drawBlocks(Dropout dropout, long firstBlock, int blocks, float[] factors) {
        RandomStream stream = dropout.stream();
        Scratch.get()
                .call(instructions, Kernel.DROPOUT_MASK)
                .write(factors, factors.length)
                .number((int) stream.seed())
                .number((int) (stream.seed() >>> 32))
                .number(stream.purpose())
                .number(step(stream))
                .number((int) firstBlock)
                .number((int) (firstBlock >>> 32))
                .number(blocks)
                .number(dropout.threshold())
                .number(dropout.scale())
                .run();
    }
}
