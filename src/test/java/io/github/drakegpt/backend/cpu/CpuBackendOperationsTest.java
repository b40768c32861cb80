package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOperations;
import io.github.drakegpt.tensor.Precision;
import org.junit.jupiter.api.Nested;

/** The CPU's operations with one thread, with several, and in Java alone. */
class CpuBackendOperationsTest {
    @Nested
    class OneThread extends BackendOperations {
        private final Backend backend = new CpuBackend(1);

        @Override
        protected Backend backend() {
            return backend;
        }
    }

    @Nested
    class ThreeThreads extends BackendOperations {
        private final Backend backend = new CpuBackend(3);

        @Override
        protected Backend backend() {
            return backend;
        }
    }

    @Nested
    class PlainJava extends BackendOperations {
        private final Backend backend = new CpuBackend(1, Precision.FP32, KernelsChoice.java("a test", ""));

        @Override
        protected Backend backend() {
            return backend;
        }
    }
}
