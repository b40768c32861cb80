package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What runs on a rented GPU machine, where nobody can look after it: {@code scripts/gpu-check} and what is made of its files. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
class GpuCheckTest {
    private static final long MOST_BYTES = 16 << 20;

    /** In place of Java: does, or fails to do, what the stages ask for. */
    private static final String JAVA = """
            #!/bin/bash
            trap '' QUIT
            case "$*" in
                *"Main doctor --json") printf '{\\n  "device cuda" : {\\n    "usable" : "yes",\\n    "GPU 0" : "NVIDIA H200"\\n  }\\n}\\n' ;;
                *Smoke*) echo '{"file":"softmax","ms":12.5}'; echo 'compiling ...' >&2; sleep 300 ;;
                *TrainCheck*) echo '{"model":"BigramLM","steps":2000,"error":"The loss is not that of the CPU."}'; exit 1 ;;
                *"RunTests list gpu"*) echo a.GoodTest; echo a.CrashingTest; echo a.OtherTest ;;
                *CrashingTest) echo "test sums rows" >&2; kill -KILL $$ ;;
                *GoodTest) echo '{"class":"GoodTest","successful":7,"failed":0,"skipped":1,"reason":"no cuDNN","seconds":1.5}' ;;
                *bench*) yes '{"suite":"train","config":"default","ms_median":0.02}' ;;
                *) echo "asked for $*" >&2; exit 3 ;;
            esac
            """;

    @TempDir
    Path temp;

    private record Result(int code, String output) {}

    private static Result run(Map<String, String> environment, String... command) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(environment);
        Process process = builder.start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Result(process.waitFor(), output);
    }

    private Result check(String... options) throws Exception {
        Path java = Files.createDirectories(temp.resolve("java/bin")).resolve("java");
        Files.writeString(java, JAVA);
        Files.setPosixFilePermissions(java, PosixFilePermissions.fromString("rwx------"));
        return check(Map.of("JAVA_HOME", temp.resolve("java").toString(), "GPU_CHECK_CLASSPATH", "none"), options);
    }

    private Result check(Map<String, String> environment, String... options) throws Exception {
        List<String> command = new ArrayList<>(List.of("scripts/gpu-check", "--out", out().toString()));
        command.addAll(List.of(options));
        return run(environment, command.toArray(String[]::new));
    }

    private Path out() {
        return temp.resolve("out");
    }

    private List<JsonNode> lines(String file) throws IOException {
        List<JsonNode> lines = new ArrayList<>();
        for (String line : Files.readAllLines(out().resolve(file))) {
            lines.add(new ObjectMapper().readTree(line));
        }
        return lines;
    }

    /** Each stage with how it went, and why. */
    private Map<String, String> stages() throws IOException {
        return lines("gpu-check.jsonl").stream()
                .filter(line -> line.has("stage"))
                .collect(Collectors.toMap(
                        line -> line.get("stage").asText(),
                        line -> (line.get("status").asText() + " "
                                        + line.get("reason").asText())
                                .strip()));
    }

    private void assertFewSmallFiles() throws IOException {
        try (Stream<Path> files = Files.list(out())) {
            assertThat(files)
                    .hasSizeLessThanOrEqualTo(8)
                    .allSatisfy(file -> assertThat(file)
                            .isRegularFile()
                            .satisfies(small -> assertThat(Files.size(small)).isLessThanOrEqualTo(MOST_BYTES)));
        }
    }

    private static void requirePython() {
        Assumptions.assumeTrue(
                Stream.of(System.getenv("PATH").split(":"))
                        .anyMatch(folder -> Files.isExecutable(Path.of(folder, "python3"))),
                "python3 is not on the PATH: what is made of a check's files is not tested");
    }

    @Test
    void whatHangsCrashesOrFailsCostsOnlyItself() throws Exception {
        Result result = check("--budget", "60", "--only", "doctor,smoke,train,tests", "--tests", "Good|Crash");
        assertThat(result.code()).as(result.output()).isEqualTo(1);
        assertThat(stages()).containsEntry("doctor", "ok").containsEntry("tests", "failed 1 of 2 classes");
        assertThat(stages().get("smoke")).matches("failed not done after \\d+ s");
        assertThat(stages()).containsEntry("train", "failed exit code 1").hasSize(4);
        assertThat(lines("smoke.jsonl"))
                .singleElement()
                .satisfies(line -> assertThat(line.get("file").asText()).isEqualTo("softmax"));
        List<JsonNode> classes = lines("tests.jsonl");
        assertThat(classes)
                .extracting(line -> line.get("class").asText())
                .containsExactly("GoodTest", "CrashingTest", "CrashingTest");
        assertThat(classes.get(1).get("error").asText()).isEqualTo("exit code 137");
        assertThat(classes.get(1).get("last").asText()).isEqualTo("test sums rows");
        assertThat(classes.get(2).get("with").asText()).isEqualTo("CUDA_LAUNCH_BLOCKING=1");
        assertThat(out().resolve("gpu-check.log")).content().contains("compiling ...");
        assertFewSmallFiles();
        requirePython();
        assertThat(out().resolve("RESULTS.md"))
                .content()
                .contains("NVIDIA H200", "| CrashingTest |", "exit code 137; it was in test sums rows");
    }

    /** A process that never stops writing, and one stage for which no time is left. */
    @Test
    void outputHasAnEndAndTheBudgetToo() throws Exception {
        Result result = check("--budget", "12", "--only", "bench,until", "--text", "README.md");
        assertThat(result.code()).as(result.output()).isEqualTo(1);
        assertThat(stages()).containsEntry("until", "left out no time was left");
        assertThat(stages().get("bench")).contains("fp32: not done after");
        assertThat(Files.size(out().resolve("bench.jsonl"))).isGreaterThan(1_000_000);
        assertThat(out().resolve("gpu-check.log"))
                .content()
                .contains("bench --seconds 0.005 --device cuda --precision fp32 --json"); // the least there is
        assertFewSmallFiles();
    }

    @Test
    void whatCannotBeDoneHereIsSkippedWithItsReason() throws Exception {
        Result result = check("--only", "until,compare,sanitize,products", "--device", "simt", "--skip", "until");
        assertThat(result.code()).as(result.output()).isZero();
        assertThat(stages())
                .containsEntry("compare", "skipped PyTorch needs a GPU")
                .containsEntry("products", "skipped matrices of that size take a GPU")
                .hasSize(3);
        assertThat(stages().get("sanitize")).startsWith("skipped compute-sanitizer needs a GPU");
    }

    @Test
    void wrongOptionsAreRefused() throws Exception {
        for (String[] options : new String[][] {
            {"--budget", "soon"}, {"--only", "mirrors"}, {"--device", "cpu"}, {"--text", "/nowhere"}, {"--fast"}
        }) {
            Result result = check(options);
            assertThat(result.code()).as(result.output()).isEqualTo(2);
            assertThat(result.output()).startsWith("gpu-check: ").contains(options[options.length - 1]);
        }
        assertThat(check("--list").output().lines().map(line -> line.split(" ")[0]))
                .containsExactly(
                        "doctor", "smoke", "train", "tests", "bench", "products", "compare", "until", "sanitize");
    }

    /** Ours and PyTorch's train alike, or their seconds say nothing. */
    @Test
    void theRecipeIsThatOfPyTorch() throws IOException {
        String peer = Files.readString(Path.of("scripts/bench_pytorch.py"));
        String recipe = peer.substring(peer.indexOf("RECIPE = {"), peer.indexOf("}", peer.indexOf("RECIPE = {")));
        List<String> expected = Pattern.compile("\"([\\w.]+)\": (\\[.*?]|[^,\\s]+)")
                .matcher(recipe)
                .results()
                .map(setting -> setting.group(1) + "=" + setting.group(2).replace("\"", ""))
                .toList();
        String check = Files.readString(Path.of("scripts/gpu-check"));
        String ours = check.substring(check.indexOf("recipe=("), check.indexOf(")\n", check.indexOf("recipe=(")));
        assertThat(Pattern.compile("\\w+\\.\\w+=(\\[.*?]|[^\\s\"]+)")
                        .matcher(ours)
                        .results()
                        .map(MatchResult::group))
                .hasSizeGreaterThan(5)
                .containsExactlyElementsOf(expected);
    }
}
