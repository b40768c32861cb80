package io.github.drakegpt.profile;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.MatrixProduct;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShapeProfilerTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 33})
    void timesEachProductOfTheDevice(int rows) {
        try (Backend backend = Backends.create("cpu", 2)) {
            List<ShapeProfiler.Result> results =
                    new ShapeProfiler(backend, 0.001, 1 << 18).run(new ShapeProfiler.Size(200, 300), rows);
            assertThat(results)
                    .extracting(result -> result.product().name())
                    .isEqualTo(
                            backend.products().stream().map(MatrixProduct::name).toList())
                    .contains("fp32", "b1.58", "bitnet");
            for (ShapeProfiler.Result result : results) {
                assertThat(result.rows()).isEqualTo(rows);
                assertThat(result.warm().median()).isPositive();
                assertThat(result.cold().median()).isPositive();
            }
        }
    }

    @Test
    void theShapesAreThoseOfTheModel() {
        long weights = ShapeProfiler.BITNET_2B.stream()
                .mapToLong(size -> (long) size.out() * size.in())
                .sum();
        assertThat(weights * 30).isBetween(2_000_000_000L, 2_150_000_000L); // 30 layers of a model of two billion
    }
}
