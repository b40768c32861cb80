package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.quant.Quantization;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Small models with their operations launched together against the same launched one by one, on one device. */
abstract class FusedTraining {
    static final List<String> NAMES = Models.NAMES;

    static final char[] CORPUS = corpus(3000, 13);

    /** What training computes: losses and norms of the steps, a loss of an evaluation, and all that AdamW keeps. */
    private record Outcome(
            float[] losses, float[] norms, double evaluated, float[] weights, float[] first, float[] second) {}

    /** A backend that launches operations together, or not. */
    abstract Backend open(boolean fuse);

    private static char[] corpus(int length, int vocabSize) {
        char[] corpus = new char[length];
        Random random = new Random(5);
        for (int i = 0; i < length; i++) {
            corpus[i] = (char) (i % 3 == 0 ? random.nextInt(vocabSize) : (corpus[i - 1] * 5 + 1) % vocabSize);
        }
        return corpus;
    }

    /** A model of a vocabulary of 13. */
    static ModelConfig model(
            String name, int context, int width, int headSize, int heads, int layers, float dropout, boolean norm) {
        return new ModelConfig(
                name,
                13,
                context,
                width,
                headSize,
                heads,
                layers,
                dropout,
                norm,
                Init.PYTORCH,
                Quantization.NONE,
                false);
    }

    /** Training of {@code batch} sequences a step. */
    static TrainConfig config(int batch, float clip, int gradAccum) {
        return new TrainConfig(
                batch,
                6,
                6,
                3,
                Schedule.CYCLIC,
                0.001,
                0.005,
                5,
                0,
                0,
                List.of(0.9f, 0.95f),
                1e-8f,
                0.01f,
                clip,
                gradAccum,
                0,
                42);
    }

    private Outcome train(boolean fuse, ModelConfig model, TrainConfig config, int evaluatedBatch) {
        try (Backend backend = open(fuse);
                TrainingStep step = TrainingStep.create(backend, model, config, CORPUS)) {
            Evaluator evaluator = new Evaluator(
                    backend,
                    Collective.ALONE,
                    step.arena(),
                    step.replicas(),
                    step.batches().with(step.stream(RandomStream.EVAL_TRAIN_BATCH)),
                    Shards.evaluation(backend, config.evalIters(), evaluatedBatch, model.contextLength()));
            float[] losses = new float[config.iters()];
            float[] norms = new float[config.iters()];
            double evaluated = 0;
            for (int i = 0; i < losses.length; i++) {
                step.run(i + 1);
                losses[i] = step.loss();
                norms[i] = step.gradNorm();
                evaluated += evaluator.loss();
            }
            return new Outcome(
                    losses,
                    norms,
                    evaluated / losses.length,
                    step.weights().toFloats(),
                    step.firstMoments().toFloats(),
                    step.secondMoments().toFloats());
        }
    }

    /** The same up to rounding together as one by one, and the same to the bit again. */
    private void assertSame(ModelConfig model, TrainConfig config, int evaluatedBatch) {
        Outcome expected = train(false, model, config, evaluatedBatch);
        Outcome outcome = train(true, model, config, evaluatedBatch);
        assertThat(outcome.losses).containsExactly(expected.losses, within(1e-5f));
        assertThat(outcome.norms).containsExactly(expected.norms, within(1e-4f));
        assertThat(outcome.evaluated).isCloseTo(expected.evaluated, within(1e-5));
        assertThat(outcome.weights).containsExactly(expected.weights, within(1e-4f));
        assertThat(outcome.first).containsExactly(expected.first, within(1e-5f));
        assertThat(outcome.second).containsExactly(expected.second, within(1e-6f));
        Outcome again = train(true, model, config, evaluatedBatch);
        assertThat(again.losses).containsExactly(outcome.losses);
        assertThat(again.weights).containsExactly(outcome.weights);
    }

    @ParameterizedTest
    @FieldSource("NAMES")
    void everyModelTrainsAsItDoesOneByOne(String name) {
        assertSame(model(name, 8, 16, 16, 4, 2, 0.2f, true), config(5, 1, 1), 5);
    }

    /** Contexts, widths and heads that are no multiples of what the kernel takes together, and more than it does. */
    static Stream<ModelConfig> shapes() {
        return Stream.of(
                model(Models.TRANSFORMER, 5, 15, 15, 3, 1, 0.3f, false),
                model(Models.TRANSFORMER, 2, 6, 6, 2, 1, 0, true),
                model(Models.TRANSFORMER, 13, 40, 40, 1, 1, 0.1f, true),
                model(Models.TRANSFORMER, 40, 12, 12, 3, 1, 0.1f, true),
                model(Models.TRANSFORMER, 3, 72, 72, 2, 1, 0, true),
                model(Models.SINGLE_HEAD, 33, 6, 17, 1, 1, 0, true),
                model(Models.MULTI_HEAD, 9, 7, 10, 2, 1, 0, true),
                model(Models.BIGRAM, 11, 8, 8, 1, 1, 0, true));
    }

    @ParameterizedTest
    @MethodSource("shapes")
    void awkwardShapesTrainAsTheyDoOneByOne(ModelConfig model) {
        assertSame(model, config(3, 0.5f, 1), 2);
    }

    @Test
    void aStepOfOneSequence() {
        assertSame(model(Models.TRANSFORMER, 8, 16, 16, 2, 1, 0.2f, true), config(1, 0, 1), 1);
    }

    /** The gradients of several passes are added up between the stretches. */
    @Test
    @Tag("late")
    void aStepOfSeveralPasses() {
        assertSame(model(Models.TRANSFORMER, 8, 16, 16, 2, 1, 0.2f, true), config(3, 1, 3), 2);
    }

    /** Operations of quantized training lie between those that are launched together. */
    @Test
    @Tag("late")
    void aQuantizedModel() {
        ModelConfig model = new ModelConfig(
                Models.TRANSFORMER, 13, 8, 16, 16, 2, 1, 0.1f, true, Init.PYTORCH, Quantization.B158, true);
        Outcome expected = train(false, model, config(3, 1, 1), 3);
        Outcome outcome = train(true, model, config(3, 1, 1), 3);
        // what is rounded to a whole number may be rounded to the next one
        assertThat(outcome.losses).containsExactly(expected.losses, within(1e-2f));
    }

    /** With a cache, and without one when the context is full. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void theSameTextIsGenerated(String name) {
        ModelConfig model = model(name, 6, 16, 16, 4, 2, 0, true);
        Weights weights;
        try (Backend backend = open(true);
                TrainingStep step = TrainingStep.create(backend, model, config(4, 1, 1), CORPUS)) {
            for (int i = 1; i <= 30; i++) {
                step.run(i);
            }
            weights = Weights.of(model, step.weights().toFloats());
        }
        assertThat(generate(true, weights)).isEqualTo(generate(false, weights));
    }

    private List<Integer> generate(boolean fuse, Weights weights) {
        List<Integer> tokens = new ArrayList<>();
        try (Backend backend = open(fuse);
                Generator generator = new Generator(backend, weights)) {
            for (int prompt = 1; prompt < 9; prompt += 3) {
                int[] start = new int[prompt];
                generator.generate(start, 12, Sampling.PLAIN, 7, prompt, true, tokens::add);
                generator.generate(start, 12, new Sampling(0, 0, 1), 7, prompt, false, tokens::add);
            }
        }
        return tokens;
    }
}
