package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DoctorCommandTest {
    @TempDir
    Path temp;

    @Test
    void printsWhatTheMachineHas() {
        Cli.Result result = Cli.run("doctor");

        assertThat(result.code()).isZero();
        assertThat(result.out())
                .contains("machine\n", "  Java  ", "device cpu\n", "  usable           yes\n", "files\n")
                .containsPattern(
                        "training on cpu\n  laptop           2,000 steps of [\\d.]+ m?s, .* in all\n"
                                + "  scaled           10,000 steps of .* in all\n  with a GPU       a step of scaled is 1.2 TFLOP, ");
    }

    @Test
    void printsOneJsonObject() throws IOException {
        Cli.Result result = Cli.run("doctor", "--json");

        assertThat(result.code()).isZero();
        JsonNode json = new ObjectMapper().readTree(result.out());
        assertThat(json.at("/machine/cores").asText())
                .isEqualTo(Integer.toString(Runtime.getRuntime().availableProcessors()));
        assertThat(json.at("/device cpu/usable").asText()).isEqualTo("yes");
        assertThat(json.at("/device cpu/Kernels").asText()).containsPattern("^(native kernels|plain Java), .*");
        assertThat(json.at("/files/bundled lyrics").asText()).endsWith("lyrics.csv");
    }

    /** Whatever cannot be measured, it comes to its end. */
    @Test
    void saysWhatThereIsNoMemoryFor() throws IOException, InterruptedException {
        Cli.Result result = Cli.runIn(temp, List.of("-Xmx32m"), "doctor");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).contains("  scaled           not measured: No memory for a tensor ");
    }

    @Test
    void saysWhatMendsMissingFiles() throws IOException, InterruptedException {
        Cli.Result result = Cli.runIn(temp, List.of("-Ddrakegpt.home=" + temp), "doctor");

        assertThat(result.code()).isZero();
        assertThat(result.out())
                .contains("bundled lyrics   not found; run from", "pretrained       none found; run from");
    }

    /** As on a processor for which there is no native code. */
    @Test
    void saysWhyTheKernelsAreNotNative() throws IOException, InterruptedException {
        Cli.Result result = Cli.runIn(temp, List.of("-Dos.arch=riscv64"), "doctor");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .contains(
                        "  Kernels          plain Java, which is slower, because native code is for Linux on x86-64 and on"
                                + " aarch64; there is nothing to fix\n");
    }
}
