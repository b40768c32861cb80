package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.tracking.EventsReader;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Processes that are ended while they train. */
class InterruptTest {
    private static final long DEADLINE_SECONDS = 60;
    // as many checkpoints as steps: whenever the process is ended, it is likely to be writing one
    private static final String[] SETTINGS = {
        "--model",
        "BigramLM",
        "--set",
        "train.eval_interval=1",
        "--set",
        "train.eval_iters=1",
        "--set",
        "train.iters=80"
    };

    @TempDir
    Path temp;

    Path corpus;
    Path run;
    Path whole;
    Process process;

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        run = temp.resolve("a run");
        whole = TinyRuns.train(corpus, temp.resolve("whole"), SETTINGS);
    }

    @AfterEach
    void end() {
        if (process != null) {
            process.destroyForcibly();
        }
    }

    @ParameterizedTest
    @CsvSource({"INT, 2", "TERM, 15"})
    void aSignalSavesAndSaysHowToGoOn(String name, int signal) throws IOException, InterruptedException {
        start(TinyRuns.args(corpus, run, SETTINGS));
        waitForEvaluations(20);
        assumeThat(catches(signal)).as("the signal is not ignored here").isTrue();

        new ProcessBuilder("kill", "-" + name, Long.toString(process.pid()))
                .start()
                .waitFor();

        assertThat(process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS)).isTrue();
        assertThat(process.exitValue()).isZero();
        assertThat(temp.resolve("out")).isEmptyFile();
        assertThat(temp.resolve("err"))
                .content()
                .contains("interrupted at step ")
                .endsWith("To go on: drakegpt train --resume \"" + run + "\"\n");
        assertThat(RunFolder.open(run).state().step()).isBetween(20, 79);
        finish();
    }

    @Test
    void aKilledRunGoesOnAsIfNothingHadHappened() throws IOException, InterruptedException {
        Random random = new Random(7);
        for (int kill = 0; kill < 4; kill++) {
            int before = evaluations();
            start(
                    kill == 0
                            ? TinyRuns.args(corpus, run, SETTINGS)
                            : new String[] {"train", "--resume", run.toString()});
            waitForEvaluations(before + 1 + random.nextInt(15));
            long until = System.nanoTime() + random.nextInt(10_000_000);
            while (System.nanoTime() < until) {
                Thread.onSpinWait();
            }

            process.destroyForcibly();

            assertThat(process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS)).isTrue();
            assertThat(process.exitValue()).isEqualTo(128 + 9);
            TinyRuns.assertReadable(run);
            assertThat(RunFolder.open(run).state().step()).isBetween(Math.max(0, before - 1), 80);
        }
        finish();
    }

    /** Trains to the end and compares with the run that nobody interrupted. */
    private void finish() throws IOException {
        Cli.Result resumed = Cli.run("train", "--resume", run.toString());
        assertThat(resumed.code()).as(resumed.err()).isZero();
        assertThat(resumed.err()).contains("resuming at step ", "done at step 80");
        TinyRuns.assertSameWeights(run, whole);
        assertThat(losses(run)).isEqualTo(losses(whole));
        assertThat(shown(run)).isEqualTo(shown(whole));
        assertThat(files(run)).isEqualTo(files(whole));
    }

    /** What TensorBoard shows, but for the speed and the memory. */
    private static Map<String, TreeMap<Long, Object>> shown(Path run) throws IOException {
        Map<String, TreeMap<Long, Object>> shown =
                EventsReader.shown(RunFolder.open(run).eventFiles());
        assertThat(shown.remove("train/tokens_per_s")).isNotNull();
        assertThat(shown.remove("train/peak_memory_bytes")).isNotNull();
        return shown;
    }

    /** The files' names, but for the events, of which each process that trained has its own. */
    private static List<String> files(Path run) throws IOException {
        List<Path> events = RunFolder.open(run).eventFiles();
        try (Stream<Path> files = Files.list(run)) {
            return files.filter(file -> !events.contains(file))
                    .map(file -> file.getFileName().toString())
                    .sorted()
                    .toList();
        }
    }

    private void start(String... args) throws IOException {
        process = new ProcessBuilder(Cli.command(temp, List.of(), args))
                .redirectOutput(temp.resolve("out").toFile())
                .redirectError(temp.resolve("err").toFile())
                .start();
        process.getOutputStream().close();
    }

    private void waitForEvaluations(int count) throws IOException, InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_SECONDS);
        while (evaluations() < count) {
            assertThat(process.waitFor(1, TimeUnit.MILLISECONDS))
                    .as("ended before evaluation " + count)
                    .isFalse();
            assertThat(System.nanoTime()).as("the deadline").isLessThan(deadline);
        }
    }

    private int evaluations() throws IOException {
        Path metrics = run.resolve(RunFolder.METRICS);
        return (int)
                MetricsFile.read(metrics).stream().filter(Metrics::isEvaluation).count();
    }

    private boolean catches(int signal) throws IOException {
        Path status = Path.of("/proc", Long.toString(process.pid()), "status");
        if (!Files.exists(status)) {
            return false;
        }
        String caught = Files.readAllLines(status).stream()
                .filter(line -> line.startsWith("SigCgt:"))
                .findFirst()
                .orElseThrow();
        return (Long.parseUnsignedLong(caught.substring(7).strip(), 16) >> (signal - 1) & 1) == 1;
    }

    /** The lines of metrics.jsonl without the times, and without the memory, which is a process's own. */
    private static List<String> losses(Path run) throws IOException {
        return Files.readAllLines(run.resolve(RunFolder.METRICS)).stream()
                .map(line -> line.replaceAll(",\"(tokens_per_s|elapsed_s|peak_memory_bytes)\":[0-9.]+", ""))
                .toList();
    }
}
