package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIOException;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainingTest {
    private static final String TEXT = "Tonight we dance, tonight we sing\n".repeat(40);
    private static final GenerationOptions SEEDED =
            GenerationOptions.builder().length(30).seed(1).build();

    @TempDir
    Path temp;

    private Device device;

    @BeforeEach
    void open() {
        device = Device.builder().name("cpu").threads(2).open();
    }

    @AfterEach
    void close() {
        device.close();
    }

    private Training small() {
        return Training.of(device, TEXT)
                .steps(40)
                .batchSize(8)
                .set("train.eval_interval", 20)
                .set("train.eval_iters", 2)
                .set("model.num_layers", 1)
                .seed(3);
    }

    /** Keeps what it is told. */
    private static class Told implements TrainingListener {
        final List<String> events = new ArrayList<>();
        double firstLoss = Double.NaN;
        double lastLoss;

        @Override
        public void onStep(Step step) {
            lastLoss = step.loss();
            firstLoss = step.number() == 1 ? lastLoss : firstLoss;
            assertThat(step.gradNorm()).isPositive();
            assertThat(step.learningRate()).isPositive();
        }

        @Override
        public void onEvaluation(Evaluation evaluation) throws IOException {
            assertThat(evaluation.sample().get().orElseThrow()).hasSize(200);
            events.add("evaluation " + evaluation.step());
        }

        @Override
        public void onEnd(End end) {
            events.add("end " + end);
        }

        @Override
        public void close() throws IOException {
            events.add("closed");
        }
    }

    @Test
    void aModelIsTrainedAndItsListenerClosed() throws IOException {
        Told told = new Told();
        try (TextModel model = small().listener(told).train()) {
            assertThat(model.vocabulary()).isEqualTo("\n ,Tacdeghinostw");
            assertThat(model.contextLength()).isEqualTo(8);
            assertThat(model.score("Tonight we dance").predicted()).isEqualTo(15);
        }
        assertThat(told.events).containsExactly("evaluation 20", "evaluation 40", "end COMPLETED", "closed");
        assertThat(told.lastLoss).isLessThan(told.firstLoss - 0.5);
    }

    @Test
    void aRunFolderHoldsTheSameModel() throws IOException {
        Path folder = temp.resolve("run");
        try (TextModel model = small().train();
                TextModel trained = small().runFolder(folder).train();
                TextModel loaded = TextModel.load(device, folder);
                TextModel best = TextModel.loadBest(device, folder)) {
            String text = model.generate("Tonight", SEEDED);
            assertThat(trained.generate("Tonight", SEEDED)).isEqualTo(text);
            assertThat(loaded.generate("Tonight", SEEDED)).isEqualTo(text);
            assertThat(best.generate("Tonight", SEEDED)).hasSize(30);
        }
        RunFolder run = RunFolder.open(folder);
        assertThat(run.state().step()).isEqualTo(40);
        assertThat(run.config().at("/train/iters").asInt()).isEqualTo(40);
        assertThat(run.config().at("/train/max_lr").asDouble()).isEqualTo(0.005);
        assertThat(run.config().at("/device/precision").asText()).isEqualTo("fp32");
        assertThat(run.config().at("/data/sha256").asText()).hasSize(64);
        assertThat(Files.readAllLines(folder.resolve(RunFolder.METRICS))).hasSize(20);
        assertThat(run.eventFiles()).hasSize(1);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> small().runFolder(folder).train())
                .withMessage(folder + " already holds a run; choose another folder.");
    }

    @Test
    void presetsAndQuantizationBringTheirSettings() throws IOException {
        Path folder = temp.resolve("ternary");
        try (TextModel model = Training.of(device, TEXT)
                .preset("laptop")
                .quantize("b1.58")
                .contextLength(16)
                .steps(2)
                .set("train.eval_iters", 1)
                .runFolder(folder)
                .train()) {
            assertThat(model.generate("T", SEEDED)).hasSize(30);
            assertThat(model.contextLength()).isEqualTo(16);
        }
        assertThat(RunFolder.open(folder).config().at("/model/quant").asText()).isEqualTo("b1.58");
        assertThat(RunFolder.open(folder).config().at("/model/embedding_dim").asInt())
                .isEqualTo(128);
    }

    @Test
    void itStopsWhenToldTo() throws IOException {
        Told told = new Told();
        int[] asked = new int[1];
        try (TextModel model =
                small().listener(told).stopWhen(() -> asked[0]++ == 5).train()) {
            assertThat(model.generate("T", SEEDED)).hasSize(30);
        }
        assertThat(told.events).containsExactly("end STOPPED", "closed");
    }

    @Test
    void listenersAreClosedWhenOneFails() {
        Path folder = temp.resolve("failed");
        Told told = new Told();
        Told failing = new Told() {
            @Override
            public void onStep(Step step) {}

            @Override
            public void onEvaluation(Evaluation evaluation) throws IOException {
                throw new IOException("The disk is full; make room.");
            }

            @Override
            public void close() throws IOException {
                super.close();
                throw new IOException("Nor can it be closed.");
            }
        };
        assertThatIOException()
                .isThrownBy(() -> small().runFolder(folder)
                        .listener(told)
                        .listener(failing)
                        .train())
                .withMessage("The disk is full; make room.")
                .satisfies(e -> assertThat(e.getSuppressed()).hasSize(1));
        assertThat(told.events).containsExactly("evaluation 20", "closed");
        assertThat(failing.events).containsExactly("closed");
        assertThat(folder).doesNotExist();
    }

    @Test
    void aLossThatIsNoNumberEndsIt() {
        Told told = new Told();
        assertThatExceptionOfType(ArithmeticException.class)
                .isThrownBy(() -> small().set("train.base_lr", 1e30)
                        .maxLearningRate(1e30)
                        .listener(told)
                        .train())
                .withMessageContaining("so training has stopped (nothing was saved); lower train.max_lr");
        assertThat(told.events).containsExactly("closed");
    }

    @Test
    void wrongSettingsAreRefused() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> small().set("train.itres", 3))
                .withMessageContaining("did you mean train.iters?");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> small().set("train.iters", "many"))
                .withMessage("train.iters is \"many\"; set it to a whole number of at most 2147483647.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> small().set("device.precision", "bf16"))
                .withMessage("device.precision belongs to the device; choose it when you open that.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> small().preset("huge"))
                .withMessage("There are no settings 'huge'; choose one of default, laptop, scaled.");
        assertThatIllegalArgumentException().isThrownBy(() -> small().steps(0).train());
        assertThatIllegalArgumentException().isThrownBy(() -> Training.of(device, ""));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Training.of(device, "short text").train())
                .withMessageContaining("too few for a context of 8; use a longer text");
    }
}
