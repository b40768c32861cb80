package io.github.drakegpt.profile;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.OutOfMemoryException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ShapeProfilerTest {
    private static final ShapeProfiler.Size SIZE = new ShapeProfiler.Size(200, 300);
    private static final List<Integer> ROWS = List.of(1, 2, 33);

    private static List<ShapeProfiler.Result> run(Backend backend) {
        List<ShapeProfiler.Result> results = new ArrayList<>();
        new ShapeProfiler(backend, 0.001, 1 << 18).run(SIZE, ROWS, results::add);
        return results;
    }

    @Test
    void timesEachProductOfTheDevice() {
        try (Backend backend = Backends.create("cpu", 2)) {
            List<ShapeProfiler.Result> results = run(backend);
            List<String> products =
                    backend.products().stream().map(MatmulCandidate::name).toList();
            assertThat(products).contains("fp32", "b1.58", "bitnet");
            for (int i = 0; i < results.size(); i++) {
                ShapeProfiler.Result result = results.get(i);
                assertThat(result.product().name()).isEqualTo(products.get(i / 3));
                assertThat(result.rows()).isEqualTo(ROWS.get(i % 3));
                assertThat(result.warm().median()).isPositive();
                assertThat(result.cold().median()).isPositive();
                assertThat(result.failure()).isNull();
            }
            assertThat(results).hasSize(3 * products.size());
        }
    }

    /** A product of the CPU that counts how often weights are made, which fails the first time, and fails for two rows. */
    private static final class Failing implements MatmulCandidate {
        private final MatmulCandidate product;
        private int prepared;

        Failing(MatmulCandidate product) {
            this.product = product;
        }

        @Override
        public String name() {
            return "failing";
        }

        @Override
        public Bound bound() {
            return product.bound();
        }

        @Override
        public long weightBytes(int out, int in) {
            return product.weightBytes(out, in);
        }

        @Override
        public Prepared prepare(Arena arena, int out, int in, int weights) {
            Prepared made = product.prepare(arena, out, in, weights);
            if (++prepared == 1) {
                throw new OutOfMemoryException("no memory", null);
            }
            return (ofRows, rows) -> {
                List<Runnable> products = made.products(ofRows, rows);
                if (rows == 33) {
                    products.set(products.size() - 1, () -> {
                        throw new IllegalStateException("refused");
                    });
                }
                return products;
            };
        }
    }

    @Test
    void aFailureCostsOneResult() {
        try (Backend cpu = Backends.create("cpu", 1)) {
            Failing failing = new Failing(cpu.products().get(0));
            Backend backend = (Backend) Proxy.newProxyInstance(
                    getClass().getClassLoader(), new Class<?>[] {Backend.class}, (proxy, method, arguments) -> {
                        if (method.getName().equals("products")) {
                            return List.of(failing, cpu.products().get(1));
                        }
                        try {
                            return method.invoke(cpu, arguments);
                        } catch (InvocationTargetException e) {
                            throw e.getCause();
                        }
                    });
            List<ShapeProfiler.Result> results = run(backend);

            assertThat(results).hasSize(6);
            assertThat(results.get(0).failure()).hasMessage("no memory");
            assertThat(results.get(2).failure()).hasMessage("refused");
            for (int timed : new int[] {1, 3, 4, 5}) {
                assertThat(results.get(timed).failure()).isNull();
                assertThat(results.get(timed).cold().median()).isPositive();
            }
            assertThat(failing.prepared).isEqualTo(2);
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
