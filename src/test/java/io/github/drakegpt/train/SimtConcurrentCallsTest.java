package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.cuda.Simt;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;

/** On the SIMT driver. */
@Tag("simt")
@Timeout(600)
class SimtConcurrentCallsTest extends ConcurrentCalls {
    @BeforeAll
    static void build() { // which takes minutes, and no time of a test
        Simt.build();
    }

    @Override
    Backend open() {
        return Simt.open();
    }

    @Override
    int repetitions() {
        return 3;
    }

    @Override
    int[] largeMatrix() {
        return new int[] {35, 100};
    }
}
