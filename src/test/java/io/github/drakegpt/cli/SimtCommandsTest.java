package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.args;
import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.cuda.Simt;
import io.github.drakegpt.backend.cuda.SimtPanel;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.Safetensors;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.tensor.Arena;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The command line on a GPU's driver that can be made to fail. */
@Tag("simt")
class SimtCommandsTest {
    private static final String[] TRANSFORMER = {
        "--model", "TransformerLM", "--device", "simt", "--set", "train.batch_size=4", "--set", "model.num_layers=1"
    };
    private static final String[] BIGRAM = {"--model", "BigramLM", "--device", "simt"};

    @TempDir
    Path temp;

    Path corpus;

    @BeforeAll
    static void build() {
        Simt.open().close(); // the driver is loaded
    }

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
    }

    @AfterEach
    void reset() {
        SimtPanel.RESET.set(0);
    }

    private static TrainingState state(Path run) throws IOException {
        return RunFolder.open(run).state();
    }

    @Test
    void trainsGeneratesAndScores() throws Exception {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), TRANSFORMER);
        String[] generate = {"generate", "--run", run.toString(), "--length", "50", "--seed", "1"};
        Cli.Result text = Cli.runIn(temp, with(generate, "--device", "simt"));
        assertThat(text.code()).as(text.err()).isZero();
        assertThat(text.out())
                .isEqualTo(Cli.runIn(temp, with(generate, "--device", "cpu")).out());
        Cli.Result score = Cli.run("score", "--run", run.toString(), "--string", "It rained.", "--device", "simt");
        assertThat(score.out())
                .isEqualTo(Cli.run("score", "--run", run.toString(), "--string", "It rained.", "--device", "cpu")
                        .out());
        assertThat(Cli.run("doctor").out()).contains("device simt", "SIMT driver (no GPU)");
    }

    /** What it computes in is kept with the run: it goes on in that, and what is made in it can be used anywhere. */
    @Test
    void trainsAndGeneratesInBfloat16() throws Exception {
        String[] bf16 = with(TRANSFORMER, "--precision", "bf16", "--set", "device.fuse=false");
        Path run = TinyRuns.train(corpus, temp.resolve("run"), bf16);
        assertThat(RunFolder.open(run).config().get("device").toString())
                .isEqualTo("{\"precision\":\"bf16\",\"fuse\":false}");
        Cli.Result resumed = Cli.run("train", "--resume", run.toString(), "--iters", "25", "--device", "simt");
        assertThat(resumed.code()).as(resumed.err()).isZero();
        Cli.Result onCpu = Cli.run("train", "--resume", run.toString(), "--iters", "30", "--device", "cpu");
        assertThat(onCpu.code()).as(onCpu.err()).isZero();
        for (String[] device : new String[][] {{"cpu"}, {"simt"}, {"simt", "--precision", "bf16"}}) {
            Cli.Result score = Cli.run(with(
                    new String[] {"score", "--run", run.toString(), "--string", "It rained.", "--json", "--device"},
                    device));
            assertThat(score.code()).as(score.err()).isZero();
            assertThat(new ObjectMapper().readTree(score.out()).get("nll").asDouble())
                    .isBetween(1.0, 4.5);
            Cli.Result text = Cli.runIn(
                    temp,
                    with(new String[] {"generate", "--run", run.toString(), "--length", "20", "--device"}, device));
            assertThat(text.code()).as(text.err()).isZero();
            assertThat(text.out().strip()).hasSizeGreaterThan(10);
        }
    }

    /** A ternary run from one in full precision: trained, packed, read, scored and profiled as on the CPU. */
    @Test
    void trainsPacksAndProfilesAQuantizedRun() throws Exception {
        Path plain = TinyRuns.train(corpus, temp.resolve("plain"), TRANSFORMER);
        Path run = TinyRuns.train(
                corpus, temp.resolve("run"), with(TRANSFORMER, "--quant", "b1.58", "--init-from", plain.toString()));
        Path packed = temp.resolve("run-packed");
        Cli.Result quantized = Cli.run("quantize", "--run", run.toString(), "--device", "simt");
        assertThat(quantized.code()).as(quantized.err()).isZero();
        for (String[] command : new String[][] {
            {"generate", "--run", packed.toString(), "--length", "50", "--seed", "1", "--device"},
            {"score", "--run", packed.toString(), "--string", "It rained on the roof.", "--device"}
        }) {
            Cli.Result onDevice = Cli.runIn(temp, with(command, "simt"));
            assertThat(onDevice.code()).as(onDevice.err()).isZero();
            assertThat(onDevice.out())
                    .isEqualTo(Cli.runIn(temp, with(command, "cpu")).out());
        }
        Cli.Result profile = Cli.run(
                "profile",
                "--run",
                plain.toString(),
                "--run",
                packed.toString(),
                "--seconds",
                "0.001",
                "--json",
                "--device",
                "simt");
        assertThat(profile.code()).as(profile.err()).isZero();
        JsonNode runs = new ObjectMapper().readTree(profile.out()).get("runs");
        assertThat(runs).hasSize(2);
        for (JsonNode row : runs) {
            row.get("decode_us").forEach(time -> assertThat(time.asDouble()).isPositive());
            row.get("speed")
                    .forEach(speed -> assertThat(speed.get("p50_ms").asDouble()).isPositive());
        }
    }

    /**
     * cuBLAS is there to measure products against; cuDNN is not, and that is said. A product that is refused, and memory that is
     * not there, cost a row each.
     */
    @Test
    void benchTimesOperationsAndStepsOnTheDevice() throws IOException {
        SimtPanel.REFUSE_PRODUCT.set(2); // the first is cuBLAS's warm-up
        SimtPanel.FAIL_ALLOCATION.set(150);
        Cli.Result kernels = Cli.run(
                "bench",
                "default",
                "--suite",
                "kernels",
                "--seconds",
                "0.001",
                "--json",
                "--device",
                "simt",
                "--precision",
                "bf16");
        assertThat(kernels.code()).as(kernels.err()).isEqualTo(1);
        JsonNode document = kernels.json().get(0);
        List<JsonNode> rows = kernels.json().subList(1, kernels.json().size());
        List<JsonNode> failed = rows.stream().filter(row -> row.has("error")).toList();
        assertThat(failed).hasSize(2);
        assertThat(failed.get(0).get("operation").asText()).isEqualTo("linear");
        assertThat(failed.get(0).get("error").asText())
                .startsWith("CUBLAS_STATUS_NOT_SUPPORTED while multiplying bf16 matrices");
        assertThat(failed.get(1).get("error").asText()).contains("The GPU has no memory for ");
        assertThat(document.get("libraries").get("cuDNN").asText()).startsWith("none, nothing is measured against it");
        assertThat(document.get("libraries").get("driver").asText()).startsWith("CUDA 12.6, ");
        assertThat(rows)
                .filteredOn(row -> row.get("us_median") != null)
                .extracting(row ->
                        row.get("operation").asText() + " by " + row.get("by").asText())
                .contains("linear by cuBLAS", "packedLinear by cuBLAS", "softmax by drakegpt")
                .doesNotContain("softmax by cuDNN", "relu by cuDNN");
        assertThat(document.get("precision").asText()).isEqualTo("bf16");
        Map<String, String> types = new HashMap<>();
        rows.forEach(
                row -> types.put(row.get("operation").asText(), row.get("dtype").asText()));
        assertThat(types)
                .containsEntry("layerNorm", "bf16")
                .containsEntry("linear", "bf16")
                .containsEntry("attentionGrad", "bf16")
                .containsEntry("crossEntropy", "bf16")
                .containsEntry("adamW", "bf16")
                .containsEntry("packedLinear", "f32")
                .containsEntry("gradNorm", "f32");

        Cli.Result step =
                Cli.run("bench", "BigramLM", "--suite", "train", "--seconds", "0.001", "--json", "--device", "simt");
        assertThat(step.code()).as(step.err()).isZero();
        JsonNode row = step.json().get(1);
        long corpus = 2_000_000;
        long workspaces = 64 << 20; // cuBLAS's, of two streams
        assertThat(row.get("memory_bytes").asLong()).isBetween(corpus + workspaces / 2, 2 * corpus + workspaces);
        assertThat(row.has("mfu_percent")).isFalse();
    }

    @Test
    void whatBenchHasMeasuredIsThereWhenTheDeviceIsLost() throws IOException {
        String[] command = {
            "bench", "BigramLM", "BigramLM", "--suite", "generate", "--seconds", "0.001", "--device", "simt", "--json"
        };
        long before = SimtPanel.LAUNCHES.get();
        assertThat(Cli.run(command).code()).isZero();
        SimtPanel.FAIL_LAUNCH.set((SimtPanel.LAUNCHES.get() - before) / 2);
        Cli.Result result = Cli.run(command);

        assertThat(result.code()).isEqualTo(1);
        assertThat(result.err()).contains("drakegpt: CUDA_ERROR_ILLEGAL_ADDRESS while ");
        List<JsonNode> rows = result.json().subList(1, result.json().size());
        assertThat(rows).hasSizeBetween(2, 4);
        JsonNode last = rows.get(rows.size() - 1);
        assertThat(last.get("error").asText()).startsWith("CUDA_ERROR_ILLEGAL_ADDRESS");
        rows.subList(0, rows.size() - 1)
                .forEach(row -> assertThat(row.get("ms_median").asDouble()).isPositive());
    }

    private static String[] with(String[] args, String... more) {
        String[] all = Arrays.copyOf(args, args.length + more.length);
        System.arraycopy(more, 0, all, args.length, more.length);
        return all;
    }

    /** What --device auto takes is never the driver for tests. */
    @Test
    void autoTakesTheCpu() {
        Cli.Result result = Cli.run(args(corpus, temp.resolve("run"), "--model", "BigramLM"));
        assertThat(result.err()).contains("Device cpu:").doesNotContain("SIMT");
    }

    @Test
    void anIllegalAddressInTheMiddleOfTrainingLeavesTheCheckpoint() throws IOException {
        Path run = temp.resolve("run");
        SimtPanel.FAIL_LAUNCH.set(1200); // 10 steps with their evaluation and its sample are some
        Cli.Result result = Cli.run(args(corpus, run, with(BIGRAM, "--set", "train.iters=1000")));
        assertFails(result, 1, "CUDA_ERROR_ILLEGAL_ADDRESS");
        assertThat(result.err()).contains(" (one of the kernels ").contains("the last checkpoint is whole");
        assertThat(state(run).step()).isPositive();
        Safetensors.read(run.resolve(RunFolder.MODEL));
    }

    @Test
    void aDeviceThatIsLostInTheMiddleOfTrainingLeavesTheCheckpoint() throws IOException {
        Path run = temp.resolve("run");
        SimtPanel.LOSE_DEVICE.set(3000); // 10 steps with their evaluation and its sample make fewer calls
        Cli.Result result = Cli.run(args(corpus, run, with(BIGRAM, "--set", "train.iters=1000")));
        assertFails(result, 1, "the GPU is lost to this process, the last checkpoint is whole");
        assertThat(state(run).step()).isPositive();
        assertFails(
                Cli.run(args(corpus, temp.resolve("another"), TRANSFORMER)),
                2,
                "The device simt cannot be used: The NVIDIA driver does not start (CUDA_ERROR_UNKNOWN)");
    }

    @Test
    void whereOthersHoldTheMemoryTheLargestBatchIsSaidAndFits() throws IOException {
        long free;
        try (Backend backend = Backends.create("simt", 1);
                Arena arena = backend.newArena()) {
            free = arena.available();
        }
        SimtPanel.OTHERS.set(free - (3 << 19));
        String[] large = with(TRANSFORMER, "--set", "train.batch_size=10000");
        Cli.Result result = Cli.run(args(corpus, temp.resolve("large"), large));
        assertFails(result, 1, "The GPU has no memory for a tensor F32 (");
        Matcher batch = Pattern.compile("The largest batch that fits is (\\d+); set train\\.batch_size to that\\.")
                .matcher(result.err());
        assertThat(batch.find()).as(result.err()).isTrue();
        assertThat(Integer.parseInt(batch.group(1))).isBetween(10, 1000);
        String[] fitting = with(TRANSFORMER, "--set", "train.batch_size=" + batch.group(1), "--iters", "1");
        Cli.Result fits = Cli.run(args(corpus, temp.resolve("fits"), fitting));
        assertThat(fits.code()).as(fits.err()).isZero();
    }

    @Test
    void anAllocationThatFailsAtTheBeginningIsOneSentence() {
        for (int n : new int[] {1, 2, 5, 20}) {
            SimtPanel.FAIL_ALLOCATION.set(n);
            Cli.Result result = Cli.run(args(corpus, temp.resolve("run" + n), TRANSFORMER));
            assertFails(result, 1, "memory");
            SimtPanel.RESET.set(0);
        }
    }

    @Test
    void devicesThatCannotBeUsedAreRefused() {
        Path run = temp.resolve("run");
        SimtPanel.CAPABILITY.set(75);
        assertFails(Cli.run(args(corpus, run, TRANSFORMER)), 2, "has compute capability 7.5 where 8.0 is needed");
        SimtPanel.CAPABILITY.set(80);
        SimtPanel.DEVICES.set(0);
        assertFails(Cli.run(args(corpus, run, TRANSFORMER)), 2, "finds no GPU");
        assertThat(run).doesNotExist();
    }
}
