package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Holds CONTRIBUTING.md to the code that it describes. */
class ContributingTest {
    private static final Path MAIN = Path.of("src/main/java/io/github/drakegpt");
    private static final Path TEST = Path.of("src/test/java/io/github/drakegpt");

    /** The example of the walk-through, in Java and in CUDA. */
    private static final Pattern OPERATION = Pattern.compile("reluGrad|ReluGradOp|relu_grad");

    /** The layer that uses the example, and the sources that most operations do without: for regions, and for cuDNN. */
    private static final Set<Path> ELSEWHERE = Set.of(
            MAIN.resolve("nn/Linear.java"),
            MAIN.resolve("backend/cuda/SequenceOp.java"),
            MAIN.resolve("backend/cuda/Cudnn.java"),
            MAIN.resolve("backend/LibraryOperations.java"));

    private static String section(String heading) throws IOException {
        String text = Files.readString(Path.of("CONTRIBUTING.md"));
        int start = text.indexOf("\n## " + heading + "\n");
        assertThat(start).as("section %s", heading).isNotNegative();
        int end = text.indexOf("\n## ", start + 1);
        return text.substring(start, end < 0 ? text.length() : end);
    }

    private static List<String> all(String pattern, String text) {
        return Pattern.compile(pattern, Pattern.MULTILINE)
                .matcher(text)
                .results()
                .map(match -> match.group(1))
                .toList();
    }

    @Test
    void theTableHasThePackagesInTheirOrder() throws IOException {
        assertThat(all("^\\| `([a-z.]+)` \\|", section("Where things are"))).isEqualTo(LayersTest.LAYERS);
    }

    @Test
    void anOperationIsAtHomeInSevenPlaces() throws IOException {
        String list = section("Adding an operation");
        List<Path> sources = new ArrayList<>();
        for (String name : all("`([\\w/]+\\.(?:java|cu))`", list)) {
            Path source = Stream.of(MAIN, TEST, Path.of(""))
                    .map(root -> root.resolve(name))
                    .filter(Files::exists)
                    .findFirst()
                    .orElseThrow(() -> new AssertionError("CONTRIBUTING.md names " + name + ", which does not exist"));
            assertThat(mentions(source)).as("%s has the operation", source).isTrue();
            sources.add(source);
        }
        assertThat(all("^(\\d)\\. `", list)).containsExactly("1", "2", "3", "4", "5", "6", "7");
        try (Stream<Path> files = Files.walk(MAIN)) {
            assertThat(files.filter(Files::isRegularFile).filter(ContributingTest::mentions))
                    .as("sources that have the operation")
                    .isSubsetOf(
                            Stream.concat(sources.stream(), ELSEWHERE.stream()).toList());
        }
    }

    private static boolean mentions(Path source) {
        try {
            return OPERATION.matcher(Files.readString(source)).find();
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void thePictureIsWhatTheScriptDraws() throws IOException, InterruptedException {
        Process check = new ProcessBuilder("scripts/draw-architecture", "--check")
                .redirectErrorStream(true)
                .start();
        String output = new String(check.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(check.waitFor()).as(output).isZero();
        List<String> drawn = all(">([a-z.]+)</text>", Files.readString(Path.of("docs/architecture.svg")));
        assertThat(drawn).containsAll(LayersTest.LAYERS);
    }
}
