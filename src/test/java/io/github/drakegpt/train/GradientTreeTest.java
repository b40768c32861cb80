package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.cpu.CpuBackend;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Sums of gradients in the order that a tree over the shards gives, whatever computes them. */
class GradientTreeTest {
    private static final Shape ONE = Shape.of(1);

    /** The definition: the sum of the first half plus that of the second. */
    private static float sum(float[] shards, int from, int to) {
        int middle = (from + to) / 2;
        return to - from == 1 ? shards[from] : sum(shards, from, middle) + sum(shards, middle, to);
    }

    /** Values whose sum depends on the order of the additions. */
    private static float[] values(int shards) {
        float[] values = new float[shards];
        for (int i = 0; i < shards; i++) {
            values[i] = (float) (Math.sin(7.0 * i + 1) * Math.pow(10, i * 5 % 7));
        }
        return values;
    }

    @ParameterizedTest
    @CsvSource({
        "1,1", "2,1", "3,1", "4,1", "7,1", "16,1", "2,2", "4,2", "6,2", "16,2", "4,3", "8,3", "16,3", "5,4", "16,4",
        "16,16"
    })
    void theOrderIsTheTreesWhateverTheNumberOfReplicas(int shards, int replicas) {
        float[] values = values(shards);
        AtomicInteger buffers = new AtomicInteger();
        try (CpuBackend backend = new CpuBackend(1);
                Arena arena = backend.newArena()) {
            List<Tensor> parts = Stream.generate(() -> arena.allocate(DType.F32, ONE))
                    .limit(replicas)
                    .toList();
            Tensor grads = arena.allocate(DType.F32, ONE);
            GradientTree tree = new GradientTree(shards, parts, grads, () -> {
                buffers.incrementAndGet();
                return arena.allocate(DType.F32, ONE);
            });
            for (int step = 0; step < 2; step++) { // the second finds what the first has left behind
                for (int first = 0; first < shards; first += replicas) {
                    for (int i = first; i < Math.min(first + replicas, shards); i++) {
                        parts.get(i - first).write(values[i]);
                    }
                    tree.add(backend, first / replicas);
                }
                assertThat(grads.toFloats()).containsExactly(sum(values, 0, shards));
            }
        }
        assertThat(buffers.get()).isLessThanOrEqualTo(32 - Integer.numberOfLeadingZeros(shards));
    }

    /** So that processes can have a subtree each. */
    @Test
    void theSumOfHalvesAndOfQuartersIsTheWhole() {
        float[] values = values(16);
        float quarters = (sum(values, 0, 4) + sum(values, 4, 8)) + (sum(values, 8, 12) + sum(values, 12, 16));
        assertThat(quarters).isEqualTo(sum(values, 0, 16));
        float inOrder = IntStream.range(0, 16).mapToObj(i -> values[i]).reduce(0f, Float::sum);
        assertThat(inOrder).as("the values tell orders apart").isNotEqualTo(quarters);
    }
}
