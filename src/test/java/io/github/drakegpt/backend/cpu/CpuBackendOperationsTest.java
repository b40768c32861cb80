package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOperations;
import org.junit.jupiter.api.Nested;

/** The CPU's operations with one thread, with several, and with the other ways to call OpenBLAS, one of which each platform has. */
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
    class ThroughJavacpp extends BackendOperations {
        private final Backend backend = cpu(OpenBlas.loadByJavacpp());

        @Override
        protected Backend backend() {
            return backend;
        }
    }

    @Nested
    class CopiedArrays extends BackendOperations {
        private final Backend backend = cpu(new OpenBlas.Copying());

        @Override
        protected Backend backend() {
            return backend;
        }
    }

    private static Backend cpu(Blas blas) {
        return new CpuBackend(
                1, blas, new KernelsChoice(new JavaPackedKernels(), new JavaLayerKernels(), "plain Java"));
    }
}
