package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class NearestTest {
    @Test
    void fewestChangesComeFirst() {
        List<String> names = List.of("Rihanna", "Drake", "Khalid", "Dua Lipa");

        assertThat(Nearest.names("draek", names, 1)).containsExactly("Drake");
        assertThat(Nearest.names("Kalid", names, 1)).containsExactly("Khalid");
        assertThat(Nearest.names("", names, 2)).containsExactly("Drake", "Khalid");
        assertThat(Nearest.names("x", List.of(), 2)).isEmpty();
    }
}
