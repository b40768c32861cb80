package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.tensor.Precision;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelsChoiceTest {
    @TempDir
    Path cache;

    /** A library that is missing, and one that is none: each with its mend. */
    @ParameterizedTest
    @CsvSource({
        "nothing.so, this build has no nothing.so, install g++ (apt install g++) and build again",
        "CpuBackend.class, could not be loaded: , build again on this machine",
    })
    void withoutTheLibraryJavaComputes(String library, String reason, String mend) {
        assumeThat(System.getProperty("os.name") + System.getProperty("os.arch"))
                .as("where there is a library at all")
                .isIn("Linuxamd64", "Linuxaarch64");
        KernelsChoice choice = KernelsChoice.of(library, cache);
        assertThat(choice.instructions()).isNull();
        assertThat(choice.description())
                .startsWith("plain Java, which is slower, because ")
                .contains(reason)
                .doesNotContain(mend);
        assertThat(choice.descriptionAndMend())
                .startsWith(choice.description() + "; " + mend)
                .doesNotContain("\n");
        try (Backend backend = new CpuBackend(1, Precision.FP32, choice)) {
            for (Bound bound : Bound.values()) {
                assertThat(backend.measurePeak(bound)).isEmpty();
            }
        }
    }

    @Test
    void nativeKernelsNeedNoMend() {
        assumeThat(KernelsChoice.get().instructions()).isNotNull();
        assertThat(KernelsChoice.get().descriptionAndMend())
                .startsWith("native kernels, ")
                .isEqualTo(KernelsChoice.get().description());
    }

    @Test
    void thisMachinesKernelsAreLookedForOnceAndSaid() {
        assertThat(KernelsChoice.get()).isSameAs(KernelsChoice.get());
        try (Backend backend = new CpuBackend(1)) {
            assertThat(backend.description()).contains(KernelsChoice.get().description());
        }
    }
}
