package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.slf4j.LoggerFactory;

/** What a training shows, without a terminal and on one. */
class ProgressTest {
    private static final String ESCAPE = "\u001b";
    private static final String ERASED_LINE = "\r" + ESCAPE + "[K";

    @TempDir
    Path temp;

    private Path corpus;
    private Path run;

    @BeforeEach
    void makeACorpus() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        run = temp.resolve("run");
    }

    // ---------------------------------------------------------------------------------------------- lines

    @Test
    void theTableSaysWhereEachSettingComesFrom() throws IOException {
        Path file = Files.writeString(temp.resolve("my.yaml"), "train: {max_lr: 0.25}\nmodel: {numHeads: 2}\n");
        String err = train(
                        "--model",
                        "TransformerLM",
                        "--config",
                        file.toString(),
                        "--seed",
                        "7",
                        "--set",
                        "device.fuse=false")
                .err();

        assertSetting(err, "model.name", "TransformerLM", "--model");
        assertSetting(err, "model.vocab_size", "21", "corpus");
        assertSetting(err, "model.num_heads", "2", file.toString());
        assertSetting(err, "model.embedding_dim", "32", "default");
        assertSetting(err, "train.max_lr", "0.25", file.toString());
        assertSetting(err, "train.seed", "7", "--seed");
        assertSetting(err, "train.iters", "20", "--set");
        assertSetting(err, "train.betas", "[0.9,0.95]", "default");
        assertSetting(err, "device.fuse", "false", "--set");
        assertSetting(err, "data.source", corpus.toString(), "corpus");
        assertThat(err).contains("TransformerLM: ", " parameters, ", " MB with gradients", ", fp32, from the start");
    }

    @Test
    void settingsOfQuantizedAndResumedRunsHaveTheirSourcesToo() {
        String err = train("--quant", "b1.58").err();
        assertSetting(err, "model.quant", "b1.58", "--quant");
        assertSetting(err, "train.schedule", "bitnet", "--quant");

        String resumed =
                Cli.run("train", "--resume", run.toString(), "--iters", "30").err();
        assertSetting(resumed, "model.quant", "b1.58", "config.json");
        assertSetting(resumed, "train.iters", "30", "--iters");
    }

    @Test
    void linesTellOfEvaluationsWithASampleAndSumUp() throws IOException {
        Cli.Result result = train("--model", "BigramLM");

        List<Metrics> evaluations = MetricsFile.read(run.resolve(RunFolder.METRICS)).stream()
                .filter(Metrics::isEvaluation)
                .toList();
        for (Metrics evaluation : evaluations) {
            assertThat(occurrences(
                            result.err(),
                            String.format(
                                    Locale.ROOT,
                                    "step %d/20 \\| estimates: train loss %.4f, val loss %.4f( \\(best\\))? \\| [0-9,]+ tokens/s \\| [0-9.]+ s\n",
                                    evaluation.step(),
                                    evaluation.trainLoss(),
                                    evaluation.valLoss())))
                    .isEqualTo(1);
        }
        String sample = evaluations.get(0).sample().strip().replaceAll("\\s*\n\\s*", " / ");
        assertThat(result.err()).contains("           | " + sample.substring(0, 73) + "...\n");
        // that of the last evaluation is on stdout, longer
        assertThat(result.out()).startsWith(evaluations.get(1).sample());
        assertThat(occurrences(result.err(), "(?m)^ +\\| ")).isEqualTo(1);
        assertThat(
                        occurrences(
                                result.err(),
                                "done at step 20, val loss [0-9.]+ over the whole validation split, lowest estimate [0-9.]+ at step (10|20)\n"))
                .isEqualTo(1);
        assertThat(result.err())
                .containsPattern(
                        "a step took [0-9.,]+ ms \\(P50\\), [0-9.,]+ ms \\(P90\\); 5,120 tokens, [0-9,]+ a second;"
                                + " peak memory [0-9.]+ MB; [0-9.]+ s in all\n");
        assertThat(result.err()).doesNotContain(ESCAPE, "\r");
    }

    @Test
    void aStepIsALineOfItsOwn() throws IOException {
        train("--model", "BigramLM");
        RunFolder folder = RunFolder.open(run);
        ch.qos.logback.classic.Logger log = (ch.qos.logback.classic.Logger) LoggerFactory.getLogger(Progress.class);
        ListAppender<ILoggingEvent> lines = new ListAppender<>();
        lines.start();
        log.addAppender(lines);
        Progress progress = new Progress(
                ProgressOptions.Style.PLAIN, SettingsTable.EMPTY, SettingsTable.EMPTY, OptionalDouble.of(1e-6), 0);
        try (Backend backend = Backends.create("cpu", 1);
                Trainer trainer = new Trainer(
                        backend,
                        folder.modelConfig(),
                        Settings.trainConfig(folder.config(), 9),
                        Corpora.find(corpus).corpus(),
                        folder,
                        List.of(progress))) {
            trainer.train(() -> false);
        } finally {
            log.detachAppender(lines);
        }

        List<String> steps = lines.list.stream()
                .map(ILoggingEvent::getFormattedMessage)
                .filter(line -> line.startsWith("step") && line.contains("| loss "))
                .toList();
        assertThat(steps)
                .hasSize(9)
                .allSatisfy(line -> assertThat(line)
                        .matches(
                                "step [1-9]/9 \\| loss [0-9.]{6} \\| grad norm [0-9.]+ \\| lr 1\\.00e-03 \\| [0-9.]+ ms"
                                        + " \\| [0-9,]+ tokens/s \\| MFU [0-9.]+% \\| [0-9.]+ s left"));
        assertThat(steps.get(8)).endsWith("| 0.0 s left");
    }

    @Test
    void aBarTakesThePlaceOfStepsAndStandsBelowTheLines() {
        Cli.Result result = train("--model", "BigramLM", "--progress", "bar");

        assertThat(result.err())
                .containsPattern("BigramLM +[0-9]+% \\[=*>? *\\] +[0-9]+/20 steps")
                .contains(ERASED_LINE + "step 10/20 | estimates: train loss ");
        assertThat(occurrences(result.err(), "step 10/20 ")).isEqualTo(1);
        assertThat(occurrences(result.err(), "done at step 20")).isEqualTo(1);
    }

    @ParameterizedTest
    @ValueSource(strings = {"plain", "bar", "none", "NONE"})
    void theLogHasEverythingHoweverItIsShown(String style) throws IOException {
        Cli.Result result = train("--model", "BigramLM", "--progress", style);

        String log = Files.readString(run.resolve(RunFolder.LOG));
        assertThat(log)
                .contains(
                        "train.iters ",
                        "Device cpu, ",
                        " parameters, ",
                        "step 10/20 | estimates: train loss ",
                        "a step took ")
                .doesNotContain(ESCAPE, "\r");
        if (style.equalsIgnoreCase("none")) {
            assertThat(result.err()).doesNotContain("step", "loss", "train.iters", "parameters");
        }
        assertThat(result.out()).isNotBlank();
    }

    @Test
    void anUnknownStyleIsRefused() {
        Cli.Result result = Cli.run(TinyRuns.args(corpus, run, "--progress", "fancy"));

        TinyRuns.assertFails(result, 2, "--progress");
        assertThat(result.err()).contains("fancy", "AUTO, BAR, PLAIN, NONE");
        assertThat(run).doesNotExist();
    }

    /** A journey repeats no setting that is as before. */
    @Test
    void aJourneyShowsOnlyWhatIsDifferentFromTheModelBefore() {
        List<String> args =
                new ArrayList<>(List.of("journey", "--models", "BigramLM,TransformerLM,TransformerLM-b1.58"));
        args.addAll(List.of(
                "--data", corpus.toString(), "--out", temp.resolve("journey").toString()));
        args.addAll(TinyRuns.tiny());
        Cli.Result result = Cli.run(args.toArray(String[]::new));

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(occurrences(result.err(), "train\\.iters ")).isEqualTo(1);
        assertThat(occurrences(result.err(), "model\\.name ")).isEqualTo(2);
        assertThat(occurrences(result.err(), "model\\.quant ")).isEqualTo(2);
        assertThat(occurrences(result.err(), "Settings as before, but:\n")).isEqualTo(2);
    }

    // ---------------------------------------------------------------------------------------------- a terminal

    @Test
    void onATerminalABarStandsBelowTheLines() throws IOException, InterruptedException {
        String screen = onATerminal(Map.of("TERM", "xterm"));

        assertThat(screen)
                .containsPattern("BigramLM +100% \\[=+\\] 20/20 steps")
                .contains(ERASED_LINE + "step 10/20 | estimates: train loss ", ESCAPE + "[2m");
        assertThat(occurrences(screen, "step 10/20 ")).isEqualTo(1);
        assertThat(occurrences(screen, "step 20/20 ")).isEqualTo(1);
    }

    @Test
    void noColorIsHonoured() throws IOException, InterruptedException {
        String screen = onATerminal(Map.of("TERM", "xterm", "NO_COLOR", "1"));

        assertThat(screen).contains(ERASED_LINE + "step 10/20 | estimates: train loss ");
        assertThat(occurrences(screen, ESCAPE + "\\[[0-9;]*m")).isZero();
    }

    @Test
    void aTerminalThatCannotDrawGetsLines() throws IOException, InterruptedException {
        String screen = onATerminal(Map.of("TERM", "dumb"));

        assertThat(screen).contains("step 10/20 | estimates: train loss ").doesNotContain(ESCAPE, "% [");
    }

    /** Not so by itself: what tells the terminal's width would take Ctrl-C from Java, and end the process at once. */
    @Test
    void ctrlCBelowABarSavesAndSaysHowToGoOn() throws IOException, InterruptedException {
        Process process = startOnATerminal(
                Map.of("TERM", "xterm"), "--set", "train.iters=10000000", "--set", "train.eval_interval=100");
        try {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (!screen().contains(" 200/10000000 | estimates: train loss ")) {
                assertThat(process.waitFor(10, TimeUnit.MILLISECONDS))
                        .as(screen())
                        .isFalse();
                assertThat(System.nanoTime()).as("the deadline").isLessThan(deadline);
            }
            process.getOutputStream().write(3); // Ctrl-C
            process.getOutputStream().flush();

            assertThat(process.waitFor(20, TimeUnit.SECONDS)).as(screen()).isTrue();
        } finally {
            process.destroyForcibly();
        }
        assertThat(screen()).contains("interrupted at step ", "To go on: drakegpt train --resume " + run);
        assertThat(process.exitValue()).isZero();
        assertThat(RunFolder.open(run).state().step()).isGreaterThanOrEqualTo(200);
    }

    /** On a usual terminal there is room for the bar. */
    @Test
    void aNarrowTerminalShowsTheBarRatherThanTheSpeed() throws IOException, InterruptedException {
        Process process = startOnATerminal(
                Map.of("TERM", "xterm", "COLUMNS", "80"),
                "--set",
                "train.iters=3000",
                "--set",
                "train.eval_interval=3000");
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();

        assertThat(screen())
                .containsPattern("\\[[= ]{5,}\\] [0-9 ]+/3000 steps \\([0-9:]+ / [0-9:]+\\)  loss [0-9.]+ *[\r\n]");
    }

    /** What a training writes on a terminal. */
    private String onATerminal(Map<String, String> environment) throws IOException, InterruptedException {
        Process process = startOnATerminal(environment);
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(process.exitValue()).as(screen()).isZero();
        return screen();
    }

    private String screen() throws IOException {
        return Files.readString(temp.resolve("screen"));
    }

    /** Trains on a terminal, which the program script pretends to be; it is as wide as COLUMNS says. */
    private Process startOnATerminal(Map<String, String> environment, String... options) throws IOException {
        Path script = Path.of("/usr/bin/script");
        assumeTrue(Files.isExecutable(script), "there is no " + script + " (util-linux)");
        StringBuilder command = new StringBuilder("stty cols " + environment.getOrDefault("COLUMNS", "120")
                + "; exec env --default-signal=INT"); // which is ignored by what a shell runs in the background
        List<String> args = new ArrayList<>(List.of("--model", "BigramLM"));
        args.addAll(List.of(options));
        for (String word : Cli.command(temp, List.of(), TinyRuns.args(corpus, run, args.toArray(String[]::new)))) {
            command.append(" '").append(word).append('\'');
        }
        ProcessBuilder builder = new ProcessBuilder(script.toString(), "-qec", command.toString(), "/dev/null")
                .redirectErrorStream(true)
                .redirectOutput(temp.resolve("screen").toFile());
        builder.environment().keySet().removeAll(List.of("NO_COLOR", "TERM", "COLUMNS"));
        builder.environment().putAll(environment);
        return builder.start();
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private Cli.Result train(String... args) {
        Cli.Result result = Cli.run(TinyRuns.args(corpus, run, args));
        assertThat(result.code()).as(result.err()).isZero();
        return result;
    }

    private static void assertSetting(String err, String key, String value, String source) {
        assertThat(occurrences(
                        err,
                        "(?m)^" + Pattern.quote(key) + " +" + Pattern.quote(value) + " +" + Pattern.quote(source)
                                + "$"))
                .as("%s %s %s in%n%s", key, value, source, err)
                .isEqualTo(1);
    }

    private static int occurrences(String text, String regex) {
        Matcher matcher = Pattern.compile(regex).matcher(text);
        int count = 0;
        while (matcher.find()) {
            count++;
        }
        return count;
    }
}
