package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MainTest {
    @TempDir
    Path temp;

    @ParameterizedTest
    @CsvSource({"trian, train", "genrate, generate", "doktor, doctor"})
    void aMistypedCommandIsRecognized(String typed, String meant) {
        assertFails(Cli.run(typed), 2, "There is no command " + typed + "; did you mean " + meant + "?");
    }

    /** What help and errors print can be pasted. */
    @Test
    void commandsAreShownAsTheyAreTyped() throws IOException, InterruptedException {
        List<String> launcher = List.of("-Ddrakegpt.command=../my project/scripts/drakegpt");
        assertThat(Cli.runIn(temp, launcher, "train", "--help").out())
                .startsWith("Usage: \"../my project/scripts/drakegpt\" train [")
                .contains("\n  \"../my project/scripts/drakegpt\" train --model BigramLM --iters 2000\n");
        assertThat(Cli.runIn(temp, launcher, "train", "--bogus").err())
                .contains("see \"../my project/scripts/drakegpt\" train --help.");
        assertThat(Cli.run("train", "--help").out()).startsWith("Usage: drakegpt train [");
    }

    @ParameterizedTest
    @CsvSource({
        "drakegpt tra, train",
        "scripts/drakegpt train --mod, --model",
        "drakegpt train --model Bi, BigramLM",
        "drakegpt train --config la, laptop",
        "drakegpt train --quant b, b1.58 bitnet",
        "drakegpt score --device cu, cuda"
    })
    void bashCompletes(String typed, String completed) throws IOException, InterruptedException {
        assumeTrue(Files.exists(Path.of("/bin/bash")), "completion needs bash");
        Cli.Result completion = Cli.run("completion");
        assertThat(completion.code()).isZero();
        Path script = Files.writeString(temp.resolve("completion"), completion.out());

        int words = typed.split(" ").length;
        Process bash = new ProcessBuilder(
                        "/bin/bash",
                        "-c",
                        "source " + script + "; COMP_WORDS=(" + typed + "); COMP_CWORD=" + (words - 1)
                                + "; COMP_LINE='" + typed
                                + "'; COMP_POINT=${#COMP_LINE}; compopt() { :; }; $(complete -p drakegpt | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
                                + "; printf '%s\\n' \"${COMPREPLY[@]}\" | sort -u")
                .redirectErrorStream(true)
                .start();
        String output = new String(bash.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(bash.waitFor()).as(output).isZero();
        assertThat(output.lines().map(String::strip)).containsExactly(completed.split(" "));
    }
}
