package io.github.drakegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

class HostTest {
    @Test
    void theNameHasNothingThatATerminalObeys() {
        assertThat(Host.name()).matches("[\\p{L}\\p{N}._-]+");
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void theNameIsTheOneThatTheSystemSays() throws Exception {
        Process uname = new ProcessBuilder("uname", "-n").start();

        assertThat(new String(uname.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
                .hasToString(Host.name() + "\n");
    }
}
