package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.cpu.CpuBackend;

/** On more threads than are often there. */
class CpuConcurrentCallsTest extends ConcurrentCalls {
    @Override
    Backend open() {
        return new CpuBackend(3);
    }

    @Override
    int repetitions() {
        return 100;
    }

    @Override
    int[] largeMatrix() {
        return new int[] {2048, 1030};
    }
}
