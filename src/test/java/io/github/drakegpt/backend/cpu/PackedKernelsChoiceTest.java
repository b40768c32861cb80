package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.slf4j.LoggerFactory;

class PackedKernelsChoiceTest {
    @TempDir
    Path cache;

    /** A library that is missing, and one that is none. */
    @ParameterizedTest
    @CsvSource({"nothing.so, this build has no nothing.so", "CpuBackend.class, libternary.so: "})
    void withoutTheLibraryProductsAreComputedInJava(String library, String reason) {
        assumeThat(System.getProperty("os.name") + System.getProperty("os.arch"))
                .as("where there is a library at all")
                .isEqualTo("Linuxamd64");
        Logger log = (Logger) LoggerFactory.getLogger(PackedKernelsChoice.class);
        ListAppender<ILoggingEvent> lines = new ListAppender<>();
        lines.start();
        log.addAppender(lines);
        try {
            PackedKernels kernels = PackedKernelsChoice.of(library, cache).log();
            assertThat(kernels).isInstanceOf(JavaPackedKernels.class);
            assertThat(lines.list).singleElement().satisfies(line -> {
                assertThat(line.getLevel()).isEqualTo(Level.INFO);
                assertThat(line.getFormattedMessage())
                        .startsWith("Products with packed weights: plain Java, because the native kernels could not be"
                                + " loaded: ")
                        .contains(reason);
            });
        } finally {
            log.detachAppender(lines);
        }
    }

    @Test
    void thisMachinesKernelsAreLookedForOnce() {
        assertThat(PackedKernelsChoice.get()).isSameAs(PackedKernelsChoice.get());
        assertThat(PackedKernelsChoice.logged())
                .isSameAs(PackedKernelsChoice.get().kernels());
    }
}
