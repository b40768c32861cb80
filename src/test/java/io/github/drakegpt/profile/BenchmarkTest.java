package io.github.drakegpt.profile;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.RepetitionsPerLaunch;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.train.Schedule;
import io.github.drakegpt.train.TrainConfig;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is timed, where a device takes one step or token at a time and where it takes several. */
class BenchmarkTest {
    private static final ModelConfig MODEL =
            new ModelConfig(Models.TRANSFORMER, 13, 8, 16, 16, 2, 2, 0, true, Init.PYTORCH, Quantization.NONE, false);
    private static final TrainConfig CONFIG = new TrainConfig(
            4, 1000, 100, 1, Schedule.CYCLIC, 0.001, 0.002, 5, 0, 0, List.of(0.9f, 0.95f), 1e-8f, 0, 0, 1, 0, 42);

    private final List<String> operations = new ArrayList<>();
    private final List<Integer> positions = new ArrayList<>(); // of attention over the cache
    private Backend backend;
    private Backend counted;

    @BeforeEach
    void start() {
        backend = Backends.create("cpu", 1);
        counted = (Backend) Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {Backend.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("region")) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments); // of operations that count
                    }
                    operations.add(method.getName());
                    if (method.getName().equals("attentionCached")) {
                        positions.add(
                                ((AttentionCachedOp) arguments[0]).position().toInts()[0]);
                    }
                    return method.invoke(backend, arguments);
                });
    }

    @AfterEach
    void stop() {
        backend.close();
    }

    private long count(String operation) {
        return operations.stream().filter(operation::equals).count();
    }

    @Test
    void stepsThatAreTakenOneByOneAreTimedOneByOne() {
        Benchmark.Timing timing = Benchmark.train(counted, MODEL, CONFIG, 1e-9);
        assertThat(timing.runs()).isEqualTo(3);
        assertThat(count("adamW")).isEqualTo(1 + 3); // warm-up and timed
    }

    @Test
    void stepsThatAreTakenTogetherAreTimedTogether() {
        Benchmark.Timing timing = Benchmark.train(RepetitionsPerLaunch.atMost(5, counted), MODEL, CONFIG, 1e-9);
        assertThat(timing.runs()).isEqualTo(3);
        assertThat(timing.median()).isPositive().isBetween(timing.p10(), timing.p90());
        long each = (count("adamW") - 3 * 5) / 3;
        assertThat(each).isGreaterThanOrEqualTo(5);
        assertThat(each % 5).isZero();
        assertThat(count("adamW")).isEqualTo(3 * 5 + 3 * each);
    }

    @Test
    void aTextFillsTheContext() {
        for (int together : new int[] {1, 7}) {
            operations.clear();
            Weights weights =
                    Weights.of(MODEL, LanguageModel.parametersOf(MODEL).initialValues(0));
            Benchmark.Timing timing = Benchmark.generate(RepetitionsPerLaunch.atMost(together, counted), weights, 1e-9);
            assertThat(timing.runs()).isEqualTo(3);
            assertThat(count("sample")).isEqualTo((together > 1 ? 3 + 3 : 1 + 3) * 7);
        }
    }

    /** Each layer's attention is told where the tokens stand: never beyond the context. */
    @Test
    void aBatchGoesThroughTheContextAgainAndAgain() {
        Weights weights = Weights.of(MODEL, LanguageModel.parametersOf(MODEL).initialValues(0));
        int[] tokens = {1, 2, 3, 4, 5};
        try (BatchDecoder decoder = new BatchDecoder(RepetitionsPerLaunch.atMost(3, counted), weights, 2, tokens)) {
            assertThat(decoder.promptLength()).isEqualTo(7);
            assertThat(decoder.passesPerLaunch()).isEqualTo(3);
            decoder.decode();
            decoder.decode();
            decoder.decode();
            decoder.prefill();
            decoder.decode();
        }
        List<Integer> perLayer = new ArrayList<>();
        for (int i = 0; i < positions.size(); i += MODEL.numLayers()) {
            perLayer.add(positions.get(i));
        }
        assertThat(perLayer).containsExactly(0, 1, 2, 3, 4, 5, 0, 1, 2, 0, 0, 1, 2);
        assertThat(count("sample")).isEqualTo(13);
    }
}
