package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Operations that are launched together give what they give one by one, also where it is not allowed to put them together: each
 * device's test extends this class.
 */
abstract class FusedOperations {
    private static final float TOLERANCE = 2e-5f; // times the largest value of a tensor, if that is more than 1

    private FusingBackend backend;
    private Arena arena;
    private List<Tensor> tensors;
    private Random random;

    abstract CudaBackend openFusing();

    @BeforeEach
    void open() {
        backend = (FusingBackend) openFusing();
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

    /** Does the work one by one and together, from the same beginning, and says how many stretches were launched together. */
    private int assertSame(Consumer<Backend> work) {
        List<float[]> before = tensors.stream().map(Tensor::toFloats).toList();
        work.accept(backend);
        List<float[]> expected = tensors.stream().map(Tensor::toFloats).toList();
        for (int i = 0; i < tensors.size(); i++) {
            tensors.get(i).write(before.get(i));
        }
        try (FusingBackend.FusedWork fused = backend.new FusedWork(() -> work.accept(backend))) {
            fused.run();
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
            return fused.programs();
        }
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
        Dropout attentionDropout = dropout(probability, 0, step);
        Dropout residualDropout = dropout(probability, 1, step);
        Tensor tokens = ints(v, batch, t);
        Tensor targets = ints(v, batch, t);
        Tensor corpus = arena.allocate(DType.U16, Shape.of(t + 50));
        char[] text = new char[t + 50];
        for (int i = 0; i < text.length; i++) {
            text[i] = (char) random.nextInt(v);
        }
        corpus.write(text);

        int[] sizes = {v * c, (t + 1) * c, c, c, 3 * a * c, c * a, c, v * c, v, c};
        int total = 0;
        for (int size : sizes) {
            total += (size + 15) / 16 * 16; // with gaps, as a model's parameters have
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
        Tensor[] p = new Tensor[sizes.length];
        Tensor[] g = new Tensor[sizes.length];
        for (int i = 0, at = 0; i < sizes.length; at += (sizes[i] + 15) / 16 * 16, i++) {
            p[i] = params.slice(at, Shape.of(sizes[i]));
            g[i] = grads.slice(at, Shape.of(sizes[i]));
        }
        Tensor learningRate = floats(1);
        learningRate.write(0.01f);
        Tensor norm = floats(1);
        Tensor loss = floats(1);
        Tensor evaluated = floats(1);
        Tensor embedded = floats(rows, c);
        Tensor normed = floats(rows, c);
        Tensor stats = floats(rows, 2);
        Tensor qkv = floats(rows, 3 * a);
        Tensor out = floats(rows, a);
        Tensor attentionStats = floats(rows, 2 * heads);
        Tensor branch = floats(rows, c);
        Tensor sum = floats(rows, c);
        Tensor normed2 = floats(rows, c);
        Tensor stats2 = floats(rows, 2);
        Tensor logits = floats(rows, v);
        Tensor dbranch = floats(rows, c);
        Tensor grad = floats(rows, c);
        Tensor dout = floats(rows, a);
        Tensor dqkv = floats(rows, 3 * a);
        int stretches = assertSame(b -> {
            b.gatherBatch(corpus, new RandomStream(42, RandomStream.TRAIN_BATCH, step), 5, tokens, targets, batch, t);
            b.embedding(tokens, p[0], p[1], null, embedded, batch, t, c);
            b.layerNorm(embedded, p[2], p[3], normed, stats, rows, c);
            b.linear(normed, p[4], null, false, qkv, rows, c, 3 * a);
            b.attention(qkv, out, attentionStats, attentionDropout, 2, batch, t, heads, headSize);
            b.linear(out, p[5], p[6], true, branch, rows, a, c);
            b.residualNorm(embedded, branch, p[9], residualDropout, 2L * t, sum, p[2], p[3], normed2, stats2, rows, c);
            b.linear(normed2, p[7], p[8], false, logits, rows, c, v);
            b.crossEntropy(logits, targets, evaluated, null, 0, rows, v);
            b.crossEntropy(logits, targets, loss, logits, 1f / rows, rows, v);
            b.linearGrad(normed2, p[7], logits, dbranch, g[7], g[8], rows, c, v);
            b.zero(grad, rows * c);
            b.residualNormGrad(
                    sum, p[2], stats2, dbranch, grad, g[2], g[3], residualDropout, 2L * t, dbranch, g[9], rows, c);
            b.reluGrad(branch, dbranch, g[6], rows, c);
            b.linearGrad(out, p[5], dbranch, dout, g[5], null, rows, a, c);
            b.attentionGrad(qkv, out, attentionStats, dout, dqkv, attentionDropout, 2, batch, t, heads, headSize);
            b.linearGrad(normed, p[4], dqkv, dbranch, g[4], null, rows, c, 3 * a);
            b.residual(grad, dbranch, p[9], null, 0, grad, rows, c);
            b.embeddingGrad(tokens, grad, g[0], g[1], batch, t, c);
            b.norm(grads, norm);
            b.adamW(
                    params,
                    grads,
                    first,
                    second,
                    learningRate,
                    step,
                    norm,
                    new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 1));
        });
        assertThat(stretches).isEqualTo(1);
    }

    /** The cache holds what earlier tokens left there, and is found by the next launch. */
    @ParameterizedTest
    @CsvSource({"1, 1, 8, 4, 8", "3, 2, 11, 3, 5", "2, 40, 64, 1, 20"})
    void attentionToACache(int batch, int t, int context, int heads, int headSize) {
        int a = heads * headSize;
        Tensor wte = floats(7, 3 * a);
        Tensor wpe = floats(context, 3 * a);
        Tensor tokens = ints(7, batch, t);
        Tensor position = ints(1, 1);
        position.write(context - t);
        Tensor qkv = floats(batch * t, 3 * a);
        Tensor cache = floats(batch, context, 2 * a);
        Tensor out = floats(batch * t, a);
        Tensor w = floats(a, a);
        Tensor y = floats(batch * t, a);
        int stretches = assertSame(b -> {
            b.embedding(tokens, wte, wpe, position, qkv, batch, t, 3 * a);
            b.attentionCached(qkv, cache, position, out, batch, t, context, heads, headSize);
            b.linear(out, w, null, true, y, batch * t, a, a);
        });
        assertThat(stretches).isEqualTo(1);
    }

    /** Six linear layers, after what says how the rows are sequences: enough to be launched together. */
    private void layers(Backend b, Tensor x, Tensor w, Tensor y, int rows, int c) {
        for (int i = 0; i < 3; i++) {
            b.linear(x, w, null, true, y, rows, c, c);
            b.linear(y, w, null, true, x, rows, c, c);
        }
    }

    @Test
    void aSumOverSequencesIsMadeBeforeItIsRead() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 8);
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 8);
        Tensor y = floats(12, 8);
        Tensor dw = floats(8, 8);
        int stretches = assertSame(b -> {
            b.embedding(tokens, wte, null, null, x, 3, 4, 8);
            layers(b, x, w, y, 12, 8);
            b.linearGrad(x, w, y, null, dw, null, 12, 8, 8);
            b.linear(x, dw, null, false, y, 12, 8, 8);
            b.embedding(tokens, wte, null, null, x, 3, 4, 8);
            layers(b, x, dw, y, 12, 8);
        });
        assertThat(stretches).isEqualTo(2);
    }

    /** The same rows as two sequences of six: a block would read what another one writes. */
    @Test
    void rowsOfOtherSequencesAreNotRead() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 24);
        Tensor x = floats(12, 24);
        Tensor w = floats(24, 24);
        Tensor y = floats(12, 24);
        Tensor out = floats(12, 8);
        Tensor stats = floats(24);
        int stretches = assertSame(b -> {
            b.embedding(tokens, wte, null, null, x, 3, 4, 24);
            layers(b, x, w, y, 12, 24);
            b.attention(x, out, stats, null, 0, 2, 6, 1, 8);
            layers(b, x, w, y, 12, 24);
        });
        assertThat(stretches).isEqualTo(2);
    }

    /** Between these lies what would take longer to look at than launches take. */
    @Test
    void gradientsMayLieAnywhere() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 8);
        Tensor dw = floats(8, 8);
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 8);
        arena.allocate(DType.F32, Shape.of(10_000_000));
        Tensor y = floats(12, 8);
        Tensor dbias = floats(8);
        int stretches = assertSame(b -> {
            b.embedding(tokens, wte, null, null, x, 3, 4, 8);
            layers(b, x, w, y, 12, 8);
            b.linearGrad(x, w, y, null, dw, dbias, 12, 8, 8);
        });
        assertThat(stretches).isZero();
    }

    /** A view that begins a row later: what a block reads as its first row is another one's. */
    @Test
    void rowsThatOverlapAreNotTakenForTheSame() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 8);
        Tensor buffer = floats(13, 8);
        Tensor x = buffer.slice(0, Shape.of(12, 8));
        Tensor later = buffer.slice(8, Shape.of(12, 8));
        Tensor w = floats(8, 8);
        Tensor y = floats(12, 8);
        assertSame(b -> {
            b.embedding(tokens, wte, null, null, x, 3, 4, 8);
            layers(b, x, w, y, 12, 8);
            b.linear(later, w, null, false, y, 12, 8, 8);
        });
    }

    /** Whatever else is launched finds what was done before it, and what follows finds what it did. */
    @Test
    void otherOperationsKeepTheirPlace() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 8);
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 8);
        Tensor y = floats(12, 8);
        Tensor copied = floats(12, 8);
        int stretches = assertSame(b -> {
            b.embedding(tokens, wte, null, null, x, 3, 4, 8);
            layers(b, x, w, y, 12, 8);
            b.copy(x, copied, 96);
            b.softmax(y, y, false, 12, 8);
            b.residual(x, y, null, null, 0, x, 12, 8);
            b.embedding(tokens, wte, null, null, y, 3, 4, 8);
            layers(b, x, w, y, 12, 8);
            b.sum(new Tensor[] {copied, y}, 2, false, x);
        });
        assertThat(stretches).isEqualTo(2);
    }

    /** What is recorded first, then replayed, and given back with its arena. */
    @Test
    void recordedWorkIsCapturedAsItWasLaunched() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 8);
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 8);
        Tensor y = floats(12, 8);
        int before = backend.context().liveAllocations();
        try (Arena recorded = backend.newArena()) {
            Runnable work = backend.record(recorded, () -> {
                backend.embedding(tokens, wte, null, null, x, 3, 4, 8);
                layers(backend, x, w, y, 12, 8);
            });
            work.run();
            float[] first = x.toFloats();
            for (int i = 0; i < 3; i++) {
                x.write(new float[96]);
                work.run();
                assertThat(x.toFloats()).isEqualTo(first);
            }
        }
        assertThat(backend.context().liveAllocations()).isEqualTo(before);
    }

    /** So that a benchmark times an operation's own kernels. */
    @Test
    void anOperationThatIsRepeatedIsLaunchedByItself() {
        Tensor qkv = floats(6, 24);
        Tensor out = floats(6, 8);
        Tensor stats = floats(6, 4);
        int stretches = assertSame(b -> {
            for (int i = 0; i < 20; i++) {
                b.attention(qkv, out, stats, null, 0, 2, 3, 2, 4);
            }
        });
        assertThat(stretches).isZero();
    }

    @Test
    void aTensorThatIsTooSmallIsRefused() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 8);
        Tensor x = floats(12, 8);
        Tensor w = floats(8, 7);
        try (FusingBackend.FusedWork fused = backend.new FusedWork(() -> {
            backend.embedding(tokens, wte, null, null, x, 3, 4, 8);
            backend.linear(x, w, null, false, x, 12, 8, 8);
        })) {
            assertThatIllegalArgumentException()
                    .isThrownBy(fused::run)
                    .withMessage("A tensor F32 (8, 7) was given where 64 elements F32 are needed.");
        }
    }

    @Test
    void workThatFailsLeavesNothingBehind() {
        Tensor tokens = ints(5, 3, 4);
        Tensor wte = floats(5, 8);
        Tensor x = floats(12, 8);
        float[] before = x.toFloats();
        try (FusingBackend.FusedWork fused = backend.new FusedWork(() -> {
            backend.embedding(tokens, wte, null, null, x, 3, 4, 8);
            throw new IllegalStateException("no");
        })) {
            assertThatIllegalStateException().isThrownBy(fused::run).withMessage("no");
        }
        assertThat(x.toFloats()).isEqualTo(before);
        backend.embedding(tokens, wte, null, null, x, 3, 4, 8);
        assertThat(x.toFloats()).isNotEqualTo(before);
    }
}
