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
    private static final Path RECORDED = Path.of("src/test/resources/gpu-check");
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

    private static String results(Path folder) throws Exception {
        requirePython();
        Result result = run(Map.of(), "scripts/gpu-results", folder.toString());
        assertThat(result.code()).as(result.output()).isZero();
        return result.output();
    }

    /** Of a check on SIMT, as it was recorded. */
    @Test
    void resultsTellWhatWasFound() throws Exception {
        assertThat(results(RECORDED))
                .startsWith("# What a GPU gave\nA rehearsal without a GPU")
                .contains(
                        "| driver | CUDA 12.6, ",
                        "| smoke | ok | ",
                        "| sanitize | skipped | 0.0 | compute-sanitizer needs a GPU",
                        "19 of 19 files of kernels were loaded",
                        "32 of 32 trainings of two steps had the CPU's loss",
                        "| TransformerLM | 2 | ",
                        "| SimtCastTest | ",
                        "## Training steps",
                        "| BigramLM | fp32 | ",
                        "## Generated characters",
                        "### default, bf16; a copy: ",
                        "| softmax | bf16 | (1024, 8) | ",
                        "(cuBLAS)",
                        "| default | 5 | drakegpt | ")
                .doesNotContain("None", "nan");
    }

    /** Of a GPU and of PyTorch beside it; what failed, and a file that breaks off in the middle of a line. */
    @Test
    void resultsHaveOursBesideTheFloorAndPyTorch() throws Exception {
        Map<String, String> files = Map.of("gpu-check.jsonl", """
                {"date":"2026-12-01T10:00:00Z","commit":"0123456789ab","device":"cuda","budget":480,"stages":"doctor bench until"}
                {"doctor":{"device cuda":{"usable":"yes","GPU 0":"NVIDIA H200"}}}
                {"stage":"bench","status":"failed","reason":"fp32: exit code 1","seconds":61.5}
                """, "bench.jsonl", """
                {"device":"cuda, NVIDIA H200","precision":"bf16"}
                {"suite":"train","config":"scaled","batch":64,"ms_median":3.0,"ms_p10":2.9,"ms_p90":3.2,"tokens_per_s":5461333,"mfu_percent":50.0}
                {"suite":"train","config":"laptop","batch":12,"error":"out | of memory"}
                {"suite":"kernels","config":"scaled","operation":"copy","by":"drakegpt","shape":"(9)","dtype":"f32","bytes":400,"us_median":2.0,"gb_per_s":4000.0}
                {"suite":"kernels","config":"scaled","operation":"softmax","by":"drakegpt","shape":"(98304, 256)","dtype":"bf16","bytes":100000000,"us_median":30.0,"gb_per_s":3333.3}
                {"device":"cuda, NVIDIA H200","shapes":"bitnet-2b"}
                {"out":2560,"in":6912,"rows":8,"weights":"fp32","weight_bytes":70778880,"cold_us":20.5}
                {"out":2560,"in":6912,"rows":8,"weights":"b1.58 by 8","cold_us":4.25}
                {"out":2560,"in":6912,"rows":64,"weights":"b1.58 by 8","error":"refused"}
                {"out":2560,"in":6912,"rows":128,"wei""", "compare.jsonl", """
                {"ours":{"device":"cuda"}}
                {"suite":"train","config":"scaled","work":64,"way":"graph-bf16-cudnn","rounds":1,"ours_ms":3.0,"pytorch_ms":4.5,"ratio":1.5}
                {"suite":"kernels","config":"scaled","work":["softmax","(98304, 256)","bfloat16"],"way":"eager-bf16","rounds":1,"ours_ms":0.03,"pytorch_ms":0.045,"ratio":1.5}
                {"suite":"train","config":"default","way":"graph-bf16","error":"no compiler"}
                {"until":1.47,"config":"scaled","by":"drakegpt","reached":true,"seconds":21.25,"step":4250,"val_loss":1.4688}
                {"until":1.47,"config":"scaled","by":"PyTorch","last":{"step":3000,"val_loss":1.52,"seconds":40.125}}
                """);
        Files.createDirectory(out());
        for (Map.Entry<String, String> file : files.entrySet()) {
            Files.writeString(out().resolve(file.getKey()), file.getValue());
        }
        assertThat(results(out()).lines())
                .contains(
                        "| GPU 0 | NVIDIA H200 |",
                        "| commit | 0123456789ab |",
                        "| bench | failed | 61.5 | fp32: exit code 1 |",
                        "| until | not ended |  | the check broke off before its end |",
                        "| scaled | bf16 | 3.00 | 2.90 | 3.20 | 5,461,333 | 1.50 |  |",
                        "| laptop | bf16 |  |  |  |  |  | out \\| of memory |",
                        "### scaled, bf16; a copy: 4,000 GB/s",
                        "| softmax | bf16 | (98304, 256) | 30.0 | 25.0 | 3,333 |  |  | 45.0 |  |",
                        "| scaled | graph-bf16-cudnn | 3.00 | 4.50 | 1.50 |",
                        "| train default | graph-bf16 |  |  | no compiler |",
                        "| scaled | 1.47 | drakegpt | 21.25 | 4250 | 1.4688 |  |",
                        "| scaled | 1.47 | PyTorch | 40.12 | 3000 | 1.5200 | not reached |",
                        "| matrix | rows | fp32 | b1.58 by 8 |",
                        "| 2560 x 6912 | 8 | 20.5 (17.7) | 4.25 |",
                        "| 2560 x 6912 | 64 |  | refused |");
    }

    @Test
    void resultsOfNothingAreRefused() throws Exception {
        requirePython();
        Result result = run(Map.of(), "scripts/gpu-results", temp.toString());
        assertThat(result.code()).isEqualTo(1);
        assertThat(result.output()).contains("there is no gpu-check.jsonl in").endsWith("has written to.\n");
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
