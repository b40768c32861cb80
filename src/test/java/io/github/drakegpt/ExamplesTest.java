package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Runs the examples by the commands in their comments. */
class ExamplesTest {
    private static final int MOST_LINES = 60;

    @TempDir
    Path work;

    static List<Path> examples() throws IOException {
        try (Stream<Path> files = Files.list(Example.FOLDER)) {
            return files.sorted().toList();
        }
    }

    @ParameterizedTest
    @MethodSource("examples")
    void anExampleIsOneShortFileThatTheReadmeLinks(Path example) throws IOException {
        assertThat(Files.readAllLines(example)).hasSizeLessThanOrEqualTo(MOST_LINES);
        assertThat(Files.readString(Path.of("README.md"))).contains("(" + Example.FOLDER + "/" + example.getFileName());
    }

    @Test
    void softmaxOfMyArray() throws Exception {
        assertThat(Example.of("SoftmaxOfMyArray").run(work, Map.of()))
                .containsPattern("probabilities \\[0.0320586.*, 0.25, 0.25, 0.25, 0.25]\n")
                .containsPattern("gradients \\[0.03103084.*, -0.0625, -0.0625, -0.0625, 0.1875]\n");
    }

    @Test
    void ternaryService() throws Exception {
        assertThat(Example.of("TernaryService").run(work, Map.of())).containsPattern("(200, 256 products\n){8}");
    }

    @Test
    void trainOnMyText() throws Exception {
        Files.copy(Path.of("README.md"), work.resolve("README.md"));
        assertThat(Example.of("TrainOnMyText").run(work, Map.of("CUDA_VISIBLE_DEVICES", "-1")))
                .containsPattern("(?s)step 250: train loss .*step 1000: train loss 2\\.\\d+, val loss [23]\\.")
                .contains("training has ended: COMPLETED\nlistener closed\n");
    }

    @Test
    void textsFromThreads() throws Exception {
        Path run = Files.createDirectories(work.resolve("data/pretrained/TransformerLM"));
        for (String file : List.of("config.json", "vocab.json", "model.safetensors")) {
            Files.copy(Path.of("data/pretrained/TransformerLM", file), run.resolve(file));
        }
        String output = Example.of("TextsFromThreads").run(work, Map.of());
        assertThat(output.lines().filter(line -> line.startsWith("Tonight "))).hasSize(8);
        assertThat(output).contains("as alone: true");
    }
}
