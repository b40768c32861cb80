package io.github.drakegpt.tracking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class MetricsRecorderTest {
    /** A sink that cannot be closed. */
    private record Stuck(String name, List<String> closed) implements MetricsSink {
        @Override
        public void add(Metrics metrics) {}

        @Override
        public void close() throws IOException {
            closed.add(name);
            throw new IOException(name);
        }
    }

    @Test
    void allSinksAreClosedAlsoIfOneFails() {
        List<String> closed = new ArrayList<>();
        MetricsRecorder recorder = new MetricsRecorder(List.of(new Stuck("a", closed), new Stuck("b", closed)));

        assertThatThrownBy(recorder::close)
                .hasMessage("a")
                .satisfies(e -> assertThat(e.getSuppressed())
                        .extracting(Throwable::getMessage)
                        .containsExactly("b"));
        assertThat(closed).containsExactly("a", "b");
    }
}
