package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.NativeFolder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jcuda.nvptxcompiler.JNvPTXCompiler;
import jcuda.nvptxcompiler.nvPTXCompileResult;
import jcuda.nvptxcompiler.nvPTXCompilerHandle;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The compiled kernels that are checked in: they belong to the sources, and every GPU and driver we promise takes them. */
class PtxTest {
    private static final Path KERNELS = Path.of("kernels");
    private static final Path PTX = KERNELS.resolve("ptx");
    private static final Path RESOURCES = KERNELS.resolve("RESOURCES.md");
    private static final Path MAIN = Path.of("src/main/java");
    private static final String COMPILE = "; run scripts/compile-kernels and commit kernels";

    private static final Pattern ENTRY = Pattern.compile("\\.entry\\s+(\\w+)");
    private static final Pattern TOOLS = Pattern.compile("Cuda compilation tools.*");
    private static final Pattern COMPILER = Pattern.compile("// " + TOOLS);
    private static final Pattern ROW = Pattern.compile("^\\| \\w+ \\| (\\w+) \\|( \\d+ \\|){4}$", Pattern.MULTILINE);
    private static final Pattern FLOAT_ATOMIC = Pattern.compile("\\b(atom|red)\\.\\S*f(16|32|64)\\S*");
    private static final Pattern VERSION = Pattern.compile("\\.version\\s+\\S+");
    private static final Pattern PRAGMA = Pattern.compile("\\.pragma\\s+\"[^\"]*\"");
    private static final Pattern STRING = Pattern.compile("\"(\\w+)\"");
    private static final Pattern USAGE = Pattern.compile(
            "Compiling entry function '(\\w+)'.*?(\\d+) bytes spill stores.*?Used \\d+ registers([^\\n]*)",
            Pattern.DOTALL);
    private static final Pattern SHARED = Pattern.compile("(\\d+) bytes smem");

    private static final int MOST_SPILLED = 32; // bytes a thread, which no timing shows
    private static final int MOST_SHARED = 48 * 1024; // what every GPU has without being asked for more

    @TempDir
    Path temp;

    static List<Path> compiled() throws IOException {
        return list(PTX, ".ptx");
    }

    private static List<Path> list(Path folder, String extension) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(extension))
                    .sorted()
                    .toList();
        }
    }

    private static Set<String> names(Path folder, String extension) throws IOException {
        return list(folder, extension).stream()
                .map(file -> file.getFileName().toString().replace(extension, ""))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    @Test
    void everySourceIsCompiledAndNothingElse() throws IOException {
        assertThat(names(PTX, ".ptx"))
                .as("files of kernels/ptx" + COMPILE)
                .isNotEmpty()
                .isEqualTo(names(KERNELS, ".cu"));
    }

    @ParameterizedTest
    @MethodSource("compiled")
    void isCompiledFromTheSources(Path ptx) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (Path header : list(KERNELS.resolve("common"), ".cuh")) {
            digest.update(Files.readAllBytes(header));
        }
        digest.update(
                Files.readAllBytes(KERNELS.resolve(ptx.getFileName().toString().replace(".ptx", ".cu"))));
        assertThat(Files.readAllLines(ptx).get(0))
                .as("the sources of " + ptx + " have changed" + COMPILE)
                .isEqualTo("// sources: " + HexFormat.of().formatHex(digest.digest()));
    }

    @Test
    void compilingAgainGivesTheSame() throws Exception {
        Assumptions.assumeTrue(
                Simt.onPath("nvcc"), "nvcc is not on the PATH: that kernels/ptx is what it makes is not tested");
        Run run = run("scripts/compile-kernels", temp.toString());
        assertThat(run.exit).as(run.output).isZero();
        assertThat(names(temp, ".ptx")).isEqualTo(names(PTX, ".ptx"));
        for (Path ptx : compiled()) {
            String now = Files.readString(temp.resolve(ptx.getFileName()));
            String checkedIn = Files.readString(ptx);
            if (compiler(now).equals(compiler(checkedIn))) { // another one writes other code
                assertThat(now)
                        .as(ptx + " is not what the compiler makes" + COMPILE)
                        .isEqualTo(checkedIn);
            }
        }
    }

    private static String compiler(String ptx) {
        Matcher matcher = COMPILER.matcher(ptx);
        assertThat(matcher.find()).as("the compiler's line in the PTX").isTrue();
        return matcher.group();
    }

    private record Run(int exit, String output) {}

    private static Run run(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Run(process.waitFor(), output);
    }

    /** What the oldest drivers pass over, newer ones refuse: a hint may be younger than the version that the file names. */
    @ParameterizedTest
    @MethodSource("compiled")
    void saysNothingThatIsYoungerThanItsVersion(Path ptx) throws IOException {
        String text = Files.readString(ptx);
        assertThat(VERSION.matcher(text).results().map(MatchResult::group))
                .as("versions of %s" + COMPILE, ptx)
                .containsExactly(".version 8.0");
        assertThat(pragmas(text))
                .as("pragmas of %s; have scripts/compile-kernels leave them out", ptx)
                .isEmpty();
    }

    private static List<String> pragmas(String ptx) {
        return PRAGMA.matcher(ptx)
                .results()
                .map(MatchResult::group)
                .filter(pragma -> !pragma.equals(".pragma \"nounroll\""))
                .toList();
    }

    /** By the compiler of the toolkit that is here, which newer drivers have too. */
    @ParameterizedTest
    @ValueSource(strings = {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"})
    void theNewestCompilerTakesThem(String gpu) throws Exception {
        Run run = assemble(gpu, compiled());
        assertThat(run.exit).as("%s: %s", gpu, run.output).isZero();
    }

    private Run assemble(String gpu, List<Path> files) throws IOException, InterruptedException {
        Assumptions.assumeTrue(
                Simt.onPath("ptxas"), "ptxas is not on the PATH: what newer drivers say of kernels/ptx is not tested");
        List<String> command = new ArrayList<>(List.of("ptxas", "-arch=" + gpu, "-o", temp.resolve("cubin") + ""));
        command.add("-O0"); // what is refused is refused before anything is made faster
        files.forEach(file -> command.add(file.toString()));
        Run run = run(command.toArray(String[]::new));
        Assumptions.assumeFalse(
                run.output.contains("option 'gpu-name'"),
                "this ptxas does not know " + gpu + ": what newer drivers say of kernels/ptx there is not tested");
        return run;
    }

    @Test
    void aHintThatIsYoungerThanItsVersionIsFound() throws Exception {
        String hint = ".pragma \"used_bytes_mask 15\"";
        String damaged = Files.readString(PTX.resolve("sum.ptx")).replaceFirst("\tld\\.global", hint + ";\n$0");
        assertThat(pragmas(damaged)).containsExactly(hint);
        Run run = assemble("sm_90", List.of(Files.writeString(temp.resolve("damaged.ptx"), damaged)));
        assertThat(run.exit).isNotZero();
        assertThat(run.output).contains("'used_bytes_mask' requires PTX ISA");
    }

    @Test
    void theTableOfResourcesHasEveryKernel() throws IOException {
        List<String> kernels = new ArrayList<>();
        for (Path ptx : compiled()) {
            kernels.addAll(entries(Files.readString(ptx)));
        }
        assertThat(ROW.matcher(Files.readString(RESOURCES)).results().map(row -> row.group(1)))
                .as(RESOURCES + COMPILE)
                .containsExactlyElementsOf(kernels);
    }

    @Test
    void theTableOfResourcesIsWhatTheCompilerSays() throws Exception {
        Assumptions.assumeTrue(
                Simt.onPath("ptxas") && Simt.onPath("readelf"),
                "ptxas or readelf is not on the PATH: that kernels/RESOURCES.md is up to date is not tested");
        String table = Files.readString(RESOURCES);
        Matcher version = TOOLS.matcher(run("ptxas", "--version").output);
        Assumptions.assumeTrue(
                version.find() && table.contains(version.group()),
                "ptxas is another version than kernels/RESOURCES.md names: that it is up to date is not tested");
        Run run = run("scripts/kernel-resources");
        assertThat(run.exit).as(run.output).isZero();
        assertThat(run.output).as(RESOURCES + COMPILE).isEqualTo(table);
    }

    /** By the compiler of CUDA 12.0, the oldest whose drivers are supported. */
    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void everySupportedGpuTakesThem() throws Exception {
        new JCudaNatives(NativeFolder.open(temp))
                .load(
                        "JNvPTXCompiler",
                        library -> library,
                        () -> JNvPTXCompiler.nvPTXCompilerGetVersion(new int[1], new int[1]));
        for (Path ptx : compiled()) {
            assertCompiles(ptx, "sm_80");
            assertCompiles(ptx, "sm_90");
        }
    }

    private static void assertCompiles(Path ptx, String gpu) throws IOException {
        String text = Files.readString(ptx);
        List<MatchResult> usages =
                USAGE.matcher(compile(ptx, text, gpu)).results().toList();
        assertThat(usages.stream().map(usage -> usage.group(1)))
                .as("kernels of %s that the compiler speaks of", ptx)
                .containsExactlyInAnyOrderElementsOf(entries(text));
        for (MatchResult usage : usages) {
            assertThat(Integer.parseInt(usage.group(2)))
                    .as("bytes that %s has no registers for on %s; give a thread less to keep", usage.group(1), gpu)
                    .isLessThanOrEqualTo(MOST_SPILLED);
            Matcher shared = SHARED.matcher(usage.group(3));
            assertThat(shared.find() ? Integer.parseInt(shared.group(1)) : 0)
                    .as("bytes of shared memory of %s; make its arrays smaller", usage.group(1))
                    .isLessThanOrEqualTo(MOST_SHARED);
        }
    }

    /** Compiles for a GPU, and returns what the compiler says of each kernel. */
    private static String compile(Path ptx, String text, String gpu) {
        byte[] source = (text + '\0').getBytes(StandardCharsets.UTF_8);
        nvPTXCompilerHandle compiler = new nvPTXCompilerHandle();
        assertThat(JNvPTXCompiler.nvPTXCompilerCreate(compiler, source.length, source))
                .isZero();
        String[] options = {"--gpu-name=" + gpu, "--verbose"};
        int result = JNvPTXCompiler.nvPTXCompilerCompile(compiler, options.length, options);
        long[] size = new long[1];
        if (result != nvPTXCompileResult.NVPTXCOMPILE_SUCCESS) {
            JNvPTXCompiler.nvPTXCompilerGetErrorLogSize(compiler, size);
            byte[] errors = new byte[(int) size[0] + 1];
            JNvPTXCompiler.nvPTXCompilerGetErrorLog(compiler, errors);
            throw new AssertionError(ptx + " does not compile for " + gpu + " with CUDA 12.0: "
                    + nvPTXCompileResult.stringFor(result) + "\n" + string(errors));
        }
        JNvPTXCompiler.nvPTXCompilerGetInfoLogSize(compiler, size);
        byte[] infos = new byte[(int) size[0] + 1];
        JNvPTXCompiler.nvPTXCompilerGetInfoLog(compiler, infos);
        JNvPTXCompiler.nvPTXCompilerDestroy(compiler);
        return string(infos);
    }

    private static String string(byte[] log) {
        return new String(log, StandardCharsets.UTF_8).replace("\0", "");
    }

    private static List<String> entries(String ptx) {
        return ENTRY.matcher(ptx).results().map(entry -> entry.group(1)).toList();
    }

    /** Sums would depend on which thread comes first, and results not repeat bit for bit. */
    @ParameterizedTest
    @MethodSource("compiled")
    void addsNoFloatsInAnyOrder(Path ptx) throws IOException {
        assertThat(FLOAT_ATOMIC.matcher(Files.readString(ptx)).results().map(MatchResult::group))
                .as("floating-point atomics in %s; give each sum to one thread, and the parts to a second launch", ptx)
                .isEmpty();
    }

    @Test
    void everyKernelIsLaunched() throws IOException {
        Set<String> launched = new TreeSet<>();
        try (Stream<Path> sources = Files.walk(MAIN)) {
            for (Path source :
                    sources.filter(file -> file.toString().endsWith(".java")).toList()) {
                for (Matcher string = STRING.matcher(Files.readString(source)); string.find(); ) {
                    String name = string.group(1);
                    launched.add(name);
                    for (FloatType type : FloatType.values()) {
                        launched.add(name + type.suffix());
                        launched.add(name + "_warp" + type.suffix()); // by launchRows and launchNorm
                        launched.add(name + "_block" + type.suffix());
                        launched.add(name + "_long" + type.suffix());
                    }
                    Arrays.stream(AttentionKernels.HEAD_SIZES).forEach(size -> launched.add(name + size));
                    Arrays.stream(PackedPath.values()).forEach(path -> launched.add(name + path.rows()));
                }
            }
        }
        List<String> kernels = new ArrayList<>();
        for (Path ptx : compiled()) {
            kernels.addAll(entries(Files.readString(ptx)));
        }
        assertThat(kernels).isNotEmpty().doesNotHaveDuplicates();
        kernels.removeAll(launched);
        assertThat(kernels)
                .as("kernels that nothing in %s launches; remove them", MAIN)
                .isEmpty();
    }
}
