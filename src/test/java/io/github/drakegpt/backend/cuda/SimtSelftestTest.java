package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The SIMT driver's tests of itself: what it computes and finds, and the rules that it refuses calls by. */
@Tag("simt")
class SimtSelftestTest {
    @Test
    void everyCheckPasses() throws Exception {
        Simt.build();
        Process process = new ProcessBuilder("native/simt/selftest/run")
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes())
                .lines()
                .filter(line -> !line.startsWith("pass "))
                .collect(Collectors.joining("\n"));
        assertThat(process.waitFor()).as("%s", output).isZero();
    }
}
