package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.Safetensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntToDoubleFunction;
import java.util.stream.Stream;

/** Trainings of a moment, and what tests say about them. */
final class TinyRuns {
    /** The files of a checkpoint that must not depend on when a run was interrupted. */
    static final List<String> WEIGHTS = List.of(RunFolder.MODEL, RunFolder.BEST, RunFolder.OPTIMIZER);

    private static final String TEXT = "It rained on the roof, and we sang till the morning came.\n";

    private TinyRuns() {}

    /** Makes a small corpus in a folder. */
    static Path corpus(Path folder) throws IOException {
        return corpus(folder, TEXT.repeat(20));
    }

    static Path corpus(Path folder, String text) throws IOException {
        Files.createDirectories(folder.getParent());
        Path file = Files.writeString(folder.resolveSibling(folder.getFileName() + ".txt"), text);
        Cli.Result result = Cli.run("setup", "--source", file.toString(), "--out", folder.toString());
        assertThat(result.code()).as(result.err()).isZero();
        return folder;
    }

    /** Arguments of a training of 20 steps with a checkpoint at 10 and at 20. */
    static String[] args(Path corpus, Path run, String... more) {
        List<String> args = new ArrayList<>(List.of("train", "--data", corpus.toString(), "--run", run.toString()));
        args.addAll(tiny());
        args.addAll(List.of(more));
        return args.toArray(String[]::new);
    }

    static List<String> tiny() {
        return List.of("--set", "train.eval_interval=10", "--set", "train.eval_iters=2", "--set", "train.iters=20");
    }

    static Path train(Path corpus, Path run, String... more) {
        Cli.Result result = Cli.run(args(corpus, run, more));
        assertThat(result.code()).as(result.err()).isZero();
        return run;
    }

    static Path bigram(Path corpus, Path run, String... more) {
        List<String> args = new ArrayList<>(List.of("--model", "BigramLM"));
        args.addAll(List.of(more));
        return train(corpus, run, args.toArray(String[]::new));
    }

    /** Fails with one sentence that has these words, and with nothing on stdout. */
    static void assertFails(Cli.Result result, int code, String words) {
        assertThat(result.err().lines().filter(line -> line.startsWith("drakegpt: ")))
                .as(result.err())
                .singleElement()
                .asString()
                .contains(words)
                .matches(".*[.?]");
        assertThat(result.err()).doesNotContain("\tat ", "Exception", "Usage:");
        assertThat(result.code()).isEqualTo(code);
        assertThat(result.out()).isEmpty();
    }

    /** All files below a folder with what is in them, but for the log. */
    static Map<String, String> contents(Path folder) throws IOException {
        Map<String, String> contents = new TreeMap<>();
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                if (!file.endsWith(RunFolder.LOG)) {
                    contents.put(
                            folder.relativize(file).toString(), HexFormat.of().formatHex(Files.readAllBytes(file)));
                }
            }
        }
        return contents;
    }

    static void assertSameWeights(Path run, Path expected) throws IOException {
        for (String name : WEIGHTS) {
            assertThat(run.resolve(name)).hasSameBinaryContentAs(expected.resolve(name));
        }
    }

    /** Overwrites all newest weights of a run, in the order of the file: the i-th with {@code weight} of i. */
    static void overwriteWeights(Path run, IntToDoubleFunction weight) throws IOException {
        Path file = run.resolve(RunFolder.MODEL);
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        FloatBuffer weights = bytes.position(Long.BYTES + (int) bytes.getLong(0))
                .slice()
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer();
        for (int i = 0; i < weights.limit(); i++) {
            weights.put(i, (float) weight.applyAsDouble(i));
        }
        Files.write(file, bytes.array());
    }

    static void assertReadable(Path run) throws IOException {
        for (String name : WEIGHTS) {
            if (Files.exists(run.resolve(name))) {
                assertThat(Safetensors.read(run.resolve(name)).names()).isNotEmpty();
            }
        }
    }
}
