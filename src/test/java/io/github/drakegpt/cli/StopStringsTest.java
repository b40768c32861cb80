package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.List;
import org.junit.jupiter.api.Test;

class StopStringsTest {
    @Test
    void whatCouldBeTheBeginningIsHeldBack() {
        StopStrings stop = new StopStrings(List.of("aab", "c"));
        assertThat(stop.take("x")).isEqualTo("x");
        assertThat(stop.take("a")).isEmpty();
        assertThat(stop.take("a")).isEmpty();
        assertThat(stop.take("a")).isEqualTo("a");
        assertThat(stop.take("d")).isEqualTo("aad");
        assertThat(stop.take("aa")).isEmpty();
        assertThat(stop.found()).isFalse();
        assertThat(stop.rest()).isEqualTo("aa");
    }

    @Test
    void theTextEndsBeforeTheFirst() {
        StopStrings stop = new StopStrings(List.of("cd", "b"));
        assertThat(stop.take("a")).isEqualTo("a");
        assertThat(stop.take("xbcd")).isEqualTo("x");
        assertThat(stop.found()).isTrue();
        assertThat(stop.rest()).isEmpty();
    }

    @Test
    void anEmptyOneIsRefused() {
        assertThatIllegalArgumentException().isThrownBy(() -> new StopStrings(List.of("a", "")));
    }
}
