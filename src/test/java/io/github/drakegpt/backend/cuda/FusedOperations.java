package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The operations of a region give what they give one by one, also where they cannot all be launched together: each device's
 * test extends this class.
 */
abstract class FusedOperations {
    private static final float TOLERANCE = 2e-5f; // times the largest value of a tensor, if that is more than 1

    private CudaBackend backend;
    private Arena arena;
    private List<Tensor> tensors;
    private Random random;

    abstract CudaBackend openFusing();

    @BeforeEach
    void open() {
        backend = openFusing();
        arena = backend.newArena();
        tensors = new ArrayList<>();
        random = new Random(1);
    }

    @AfterEach
    void close() {
        arena.close();
        backend.close();
    }

    /** A tensor of random numbers, which {@link #assertSame} looks at. */
    private Tensor floats(int... dims) {
        Tensor tensor = arena.allocate(DType.F32, Shape.of(dims));
        float[] values = new float[(int) tensor.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian() / 2;
        }
        tensor.write(values);
        tensors.add(tensor);
        return tensor;
    }

    private Tensor ints(int bound, int... dims) {
        Tensor tensor = arena.allocate(DType.I32, Shape.of(dims));
        int[] values = new int[(int) tensor.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextInt(bound);
        }
        tensor.write(values);
        return tensor;
    }

    private Dropout dropout(float probability, int site, Tensor step) {
        return probability == 0
                ? null
                : new Dropout(probability, new RandomStream(42, RandomStream.dropout(site), step));
    }

    /** Runs the operations in their order. */
    private static Consumer<Operations> all(List<Operation> operations, Pass pass) {
        return on -> operations.forEach(operation -> operation.run(on, pass));
    }

    /** Runs the work one by one and as a region, from the same beginning, and says how many programs the region has. */
    private int assertSame(Consumer<Operations> work) {
        List<float[]> before = tensors.stream().map(Tensor::toFloats).toList();
        work.accept(backend);
        List<float[]> expected = tensors.stream().map(Tensor::toFloats).toList();
        for (int i = 0; i < tensors.size(); i++) {
            tensors.get(i).write(before.get(i));
        }
        SequenceRegion region = backend.sequenceRegion(arena, work);
        region.run();
        for (int i = 0; i < tensors.size(); i++) {
            float largest = 1;
            for (float value : expected.get(i)) {
                largest = Math.max(largest, Math.abs(value));
            }
            float[] actual = tensors.get(i).toFloats();
            assertThat(actual).hasSameSizeAs(expected.get(i));
            // of whole arrays AssertJ takes a minute to tell the difference
            for (int j = 0; j < actual.length; j++) {
                assertThat(actual[j])
                        .as("element %d of tensor %d, %s", j, i, tensors.get(i))
                        .isCloseTo(expected.get(i)[j], within(TOLERANCE * largest));
            }
        }
        return region.programs();
    }

    /** All operations there are, forward and backward, with what AdamW makes of the gradients. */
    @ParameterizedTest
    @CsvSource({
        // B, T, C, H, S, V, dropout
        "3, 8, 32, 4, 8, 21, 0.2", //
        "1, 1, 5, 1, 3, 2, 0",
        "2, 9, 36, 2, 5, 33, 0.1",
        "2, 17, 12, 3, 16, 80, 0.4",
        "2, 64, 12, 3, 4, 7, 0.1",
        "1, 33, 9, 2, 40, 7, 0.3",
        "4, 3, 128, 1, 128, 5, 0"
    })
    void aPassAndItsGradients(int batch, int t, int c, int heads, int headSize, int v, float probability) {
        int rows = batch * t;
        int a = heads * headSize;
        Tensor step = ints(1, 1);
        step.write(3);
        Dropout residualDropout = dropout(probability, 1, step);
        Tensor tokens = ints(v, batch, t);
        Tensor targets = ints(v, batch, t);
        Tensor corpus = arena.allocate(DType.U16, Shape.of(t + 50));
        char[] text = new char[t + 50];
        for (int i = 0; i < text.length; i++) {
            text[i] = (char) random.nextInt(v);
        }
        corpus.write(text);

        List<Shape> shapes = List.of(
                Shape.of(v, c),
                Shape.of(t + 1, c),
                Shape.of(c),
                Shape.of(c),
                Shape.of(3 * a, c),
                Shape.of(c, a),
                Shape.of(c),
                Shape.of(v, c),
                Shape.of(v),
                Shape.of(c));
        int total = 0;
        for (Shape shape : shapes) {
            total += gapped(shape);
        }
        Tensor params = floats(total);
        Tensor grads = floats(total);
        Tensor first = floats(total);
        Tensor second = floats(total);
        float[] squares = second.toFloats();
        for (int i = 0; i < squares.length; i++) {
            squares[i] = 0.1f + squares[i] * squares[i];
        }
        second.write(squares);
        Tensor[] p = new Tensor[shapes.size()];
        Tensor[] g = new Tensor[shapes.size()];
        for (int i = 0, at = 0; i < p.length; at += gapped(shapes.get(i)), i++) {
            p[i] = params.slice(at, shapes.get(i));
            g[i] = grads.slice(at, shapes.get(i));
        }
        Tensor learningRate = floats(1);
        learningRate.write(0.01f);
        Tensor norm = floats(1);
        Tensor embedded = floats(rows, c);
        Tensor normed = floats(rows, c);
        Tensor qkv = floats(rows, 3 * a);
        Tensor out = floats(rows, a);
        Tensor branch = floats(rows, c);
        Tensor sum = floats(rows, c);
        Tensor normed2 = floats(rows, c);
        Tensor logits = floats(rows, v);
        Tensor dbranch = floats(rows, c);
        Tensor grad = floats(rows, c);
        Tensor dout = floats(rows, a);
        Tensor dqkv = floats(rows, 3 * a);
        LayerNormOp norm1 = new LayerNormOp(null, embedded, p[2], p[3], normed, floats(rows, 2), null);
        AttentionOp attention =
                new AttentionOp(qkv, out, floats(rows, 2 * heads), dropout(probability, 0, step), heads);
        ResidualOp residual = new ResidualOp(embedded, branch, p[9], residualDropout, sum);
        LayerNormOp norm2 = new LayerNormOp(residual, sum, p[2], p[3], normed2, floats(rows, 2), null);
        AdamWOp.State state = new AdamWOp.State(params, params, grads, first, second);
        List<Operation> operations = List.of(
                new GatherBatchOp(corpus, new RandomStream(42, RandomStream.TRAIN_BATCH, step), tokens, targets),
                new EmbeddingOp(tokens, p[0], p[1], null, embedded),
                norm1,
                new LinearOp(normed, p[4], null, false, qkv),
                attention,
                new LinearOp(out, p[5], p[6], true, branch),
                norm2,
                new LinearOp(normed2, p[7], p[8], false, logits),
                new CrossEntropyOp(logits, targets, floats(1), null, 0),
                new CrossEntropyOp(logits, targets, floats(1), logits, 1f / rows),
                new LinearGradOp(normed2, p[7], logits, dbranch, g[7], g[8]),
                new ZeroOp(grad),
                new LayerNormGradOp(
                        norm2, dbranch, grad, g[2], g[3], new ResidualGradOp(grad, residualDropout, dbranch, g[9])),
                new ReluGradOp(branch, dbranch, g[6]),
                new LinearGradOp(out, p[5], dbranch, dout, g[5], null),
                new AttentionGradOp(attention, dout, dqkv),
                new LinearGradOp(normed, p[4], dqkv, dbranch, g[4], null),
                new ResidualOp(grad, dbranch, p[9], null, grad),
                new EmbeddingGradOp(tokens, grad, g[0], g[1]),
                new GradNormOp(grads, norm),
                new AdamWOp(state, learningRate, step, norm, new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 1)));
        assertThat(assertSame(all(operations, Pass.training(batch, t, 2)))).isEqualTo(1);
    }

    /** Elements with a gap behind them, as a model's parameters have. */
    private static int gapped(Shape shape) {
        return (int) (shape.size() + 15) / 16 * 16;
    }

    /** The cache holds what earlier tokens left there, and is found by the next launch. */
    @ParameterizedTest
    @CsvSource({"1, 1, 8, 4, 8", "3, 2, 11, 3, 5", "2, 40, 64, 1, 20"})
    void attentionToACache(int batch, int t, int context, int heads, int headSize) {
        int a = heads * headSize;
        Tensor position = ints(1, 1);
        position.write(context - t);
        Tensor qkv = floats(batch * t, 3 * a);
        Tensor out = floats(batch * t, a);
        List<Operation> operations = List.of(
                new EmbeddingOp(ints(7, batch, t), floats(7, 3 * a), floats(context, 3 * a), position, qkv),
                new AttentionCachedOp(qkv, floats(batch, context, 2 * a), position, out, heads),
                new LinearOp(out, floats(a, a), null, true, floats(batch * t, a)));
        assertThat(assertSame(all(operations, Pass.generation(batch, t)))).isEqualTo(1);
    }

    // ---------------------------------------------------------------------------------------------- what regions are

    private static final Pass THREE_OF_FOUR = Pass.evaluation(3, 4);

    /** Six linear layers: enough to be launched together. */
    private static List<Operation> layers(Tensor x, Tensor w, Tensor y) {
        LinearOp there = new LinearOp(x, w, null, true, y);
        LinearOp back = new LinearOp(y, w, null, true, x);
        return List.of(there, back, there, back, there, back);
    }

    private static List<Operation> concat(List<Operation> first, Operation... others) {
        List<Operation> all = new ArrayList<>(first);
        Collections.addAll(all, others);
        return all;
    }

    @Test
    void whatReadsASumOverSequencesIsNoPartOfARegion() {
        Tensor x = floats(12, 8);
        Tensor y = floats(12, 8);
        Tensor w = floats(8, 8);
        Tensor dw = floats(8, 8);
        List<Operation> operations =
                concat(layers(x, w, y), new LinearGradOp(x, w, y, null, dw, null), new LinearOp(x, dw, null, false, y));
        SequenceRegion region = backend.sequenceRegion(arena, all(operations, THREE_OF_FOUR));
        assertThatIllegalArgumentException()
                .isThrownBy(region::run)
                .withMessage(
                        "In a region, linear cannot take w (8, 8), of which another operation takes other parts as dw"
                                + " (8, 8); end the region before it.");
    }

    /** The same rows as two sequences of six: a block would read what another one writes. */
    @Test
    void aRegionIsOfOnePass() {
        Tensor x = floats(12, 8);
        LinearOp linear = new LinearOp(x, floats(8, 8), null, false, floats(12, 8));
        SequenceRegion region = backend.sequenceRegion(arena, on -> {
            on.linear(linear, THREE_OF_FOUR);
            on.linear(linear, Pass.evaluation(2, 6));
        });
        assertThatIllegalArgumentException()
                .isThrownBy(region::run)
                .withMessageContaining("make a region for each pass");
    }

    /** A view that begins a row later: what a block reads as its first row is another one's. */
    @Test
    void rowsOfOtherSequencesAreNotRead() {
        Tensor buffer = floats(13, 8);
        Tensor x = buffer.slice(0, Shape.of(12, 8));
        Tensor later = buffer.slice(8, Shape.of(12, 8));
        Tensor w = floats(8, 8);
        Tensor y = floats(12, 8);
        SequenceRegion region = backend.sequenceRegion(
                arena, all(concat(layers(x, w, y), new LinearOp(later, w, null, false, y)), THREE_OF_FOUR));
        assertThatIllegalArgumentException().isThrownBy(region::run).withMessageContaining("linear cannot take x");
    }

    /** Between these lies what would take longer to look at than launches take. */
    @Test
    void gradientsMayLieAnywhere() {
        Tensor dw = floats(8, 8);
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 8);
        arena.allocate(DType.F32, Shape.of(10_000_000));
        Tensor y = floats(12, 8);
        Tensor dbias = floats(8);
        List<Operation> operations = concat(layers(x, w, y), new LinearGradOp(x, w, y, null, dw, dbias));
        assertThat(assertSame(all(operations, THREE_OF_FOUR))).isZero();
    }

    /** Whatever else is launched finds what was done before it, and what follows finds what it did. */
    @Test
    void otherOperationsKeepTheirPlace() {
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 8);
        Tensor y = floats(12, 8);
        Tensor copied = floats(12, 8);
        List<Operation> operations = concat(layers(x, w, y), new CopyOp(x, copied), new SoftmaxOp(y, y, false));
        operations.addAll(layers(x, w, y));
        operations.add(new SumOp(List.of(copied, y), false, x));
        assertThat(assertSame(all(operations, THREE_OF_FOUR))).isEqualTo(2);
    }

    /** What is recorded first, then replayed, and given back with its arena. */
    @Test
    void recordedWorkIsCapturedAsItWasLaunched() {
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 8);
        Tensor y = floats(12, 8);
        float[] start = x.toFloats();
        int before = backend.context().liveAllocations();
        try (Arena recorded = backend.newArena()) {
            Runnable work =
                    backend.record(recorded, backend.sequenceRegion(recorded, all(layers(x, w, y), THREE_OF_FOUR)));
            work.run();
            float[] first = x.toFloats();
            for (int i = 0; i < 3; i++) {
                x.write(start);
                work.run();
                assertThat(x.toFloats()).isEqualTo(first);
            }
        }
        assertThat(backend.context().liveAllocations()).isEqualTo(before);
    }

    @Test
    void workThatFailsLeavesNothingBehind() {
        Tensor x = floats(12, 8);
        LinearOp linear = new LinearOp(floats(12, 8), floats(8, 8), null, false, x);
        float[] before = x.toFloats();
        SequenceRegion region = backend.sequenceRegion(arena, on -> {
            on.linear(linear, THREE_OF_FOUR);
            throw new IllegalStateException("no");
        });
        assertThatIllegalStateException().isThrownBy(region::run).withMessage("no");
        assertThat(x.toFloats()).isEqualTo(before);
        backend.linear(linear, THREE_OF_FOUR);
        assertThat(x.toFloats()).isNotEqualTo(before);
    }
}
