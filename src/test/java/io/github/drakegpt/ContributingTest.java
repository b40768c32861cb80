package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Holds CONTRIBUTING.md to the code that it describes. */
class ContributingTest {
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
