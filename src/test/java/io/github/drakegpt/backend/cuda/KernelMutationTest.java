package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.platform.engine.CancellationToken;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherExecutionRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Kernels that are broken on purpose are caught by the tests of the operations: each here is one change of a kernel's
 * source, compiled for the SIMT driver and tested in a JVM of its own.
 */
@Tag("mutation")
class KernelMutationTest {
    private static final Path KERNELS = Path.of("kernels");

    @TempDir
    static Path temp;

    private static ExecutorService workers;
    /** What each mutation's tests print, or are going to. */
    private static final Map<Mutation, Future<List<String>>> RESULTS = new HashMap<>();

    /**
     * A change of the source.
     *
     * @param file of kernels/, with the text that {@code to} replaces exactly once
     * @param users of a header: the kernels that include it and that the tests run; else none
     * @param test a test class and its methods, as in {@code Class#method,method}
     * @param names the kernel that the failure must name, or null where only a value is wrong
     */
    private record Mutation(
            String what, String file, String from, String to, List<String> users, String test, String names) {
        /** The kernels to compile. */
        List<String> kernels() {
            return users.isEmpty() ? List.of(file) : users;
        }

        @Override
        public String toString() {
            return what;
        }
    }

    private static Mutation mutation(
            String what, String file, String from, String to, List<String> users, String methods) {
        return mutation(what, file, from, to, users, methods, null);
    }

    private static Mutation mutation(
            String what, String file, String from, String to, List<String> users, String methods, String names) {
        return new Mutation(what, file, from, to, users, "SimtOperationsTest#" + methods, names);
    }

    private static Mutation bf16Attention(String what, String from, String to, String method, String names) {
        return new Mutation(what, "attention_bf16.cu", from, to, List.of(), "SimtBf16AttentionTest#" + method, names);
    }

    private static Mutation packed(String what, String file, String from, String to, String method, String names) {
        List<String> users = file.startsWith("common/") ? List.of("quantize.cu") : List.of();
        return new Mutation(what, file, from, to, users, "SimtPackedOperationsTest#" + method, names);
    }

    private static Mutation fused(String what, String file, String from, String to, String names) {
        return new Mutation(what, file, from, to, List.of(), "SimtFusedOperationsTest#aPassAndItsGradients", names);
    }

    static List<Mutation> mutations() {
        return List.of(
                mutation(
                        "a token appended to another sequence than its own",
                        "append.cu",
                        "next[blockIdx.x]",
                        "next[0]",
                        List.of(),
                        "append"),
                mutation(
                        "a place read one too early",
                        "gather.cu",
                        "corpus[token + 1]",
                        "corpus[token]",
                        List.of(),
                        "gatherBatch"),
                mutation(
                        "a place written one too late",
                        "common/column_sums.cuh",
                        "blockIdx.y * c + j + k] = total[k]",
                        "blockIdx.y * c + j + k + 1] = total[k]",
                        List.of("sum.cu"),
                        "linearGrad"),
                mutation(
                        "a bound that lets a block too many write",
                        "embedding.cu",
                        "if (i >= (long long)context * c)",
                        "if (i >= (long long)context * c + blockDim.x)",
                        List.of(),
                        "embedding",
                        "position_embedding_grad_f32"),
                mutation(
                        "an element that is not written",
                        "common/pack.cuh",
                        "if (k < left) {",
                        "if (k < left - 1) {",
                        List.of("sum.cu"),
                        "sum"),
                new Mutation(
                        "elements written in another order, where 16 bytes are written at a time",
                        "common/pack.cuh",
                        "pack.elements[k] = T(values[k]);",
                        "pack.elements[k] = T(values[N - 1 - k]);",
                        List.of("relu.cu"),
                        "SimtAlignedOperationsTest#reluGrad",
                        null),
                new Mutation(
                        "what lies behind a row of logits' gradients is not zero",
                        "pad.cu",
                        "c - column, false",
                        "stride - column, false",
                        List.of("cross_entropy.cu", "relu.cu", "sum.cu"),
                        "SimtBf16OperationsTest#aHead",
                        null),
                new Mutation(
                        "logits read from rows that are not padded",
                        "pad.cu",
                        "i / c * stride + column",
                        "i",
                        List.of("cross_entropy.cu", "relu.cu", "sum.cu"),
                        "SimtBf16OperationsTest#aHead",
                        null),
                mutation(
                        "16 bytes read at an address that is no multiple of them",
                        "common/pack.cuh",
                        "& 15) == 0",
                        "& 3) == 0",
                        List.of("relu.cu"),
                        "reluGrad",
                        "relu_grad_f32"),
                mutation(
                        "no barrier before the shared memory of a sum is used again",
                        "common/reduce.cuh",
                        "if constexpr (THREADS > WARP) {\n        __syncthreads();",
                        "if constexpr (THREADS > WARP) {",
                        List.of("layer_norm.cu"),
                        "layerNorm",
                        "layer_norm_block_f32"),
                mutation(
                        "no barrier between the warps' sums and their sum",
                        "common/column_sums.cuh",
                        "[k] = total[k];\n    }\n    __syncthreads();",
                        "[k] = total[k];\n    }",
                        List.of("sum.cu"),
                        "linearGrad",
                        "column_sums_f32"),
                mutation(
                        "no barrier between a warp's weights and their use",
                        "attention.cu",
                        "__syncwarp();\n        accumulate<S>(weights[warp], values",
                        "accumulate<S>(weights[warp], values",
                        List.of(),
                        "attentionCached",
                        "attention_f32_8"),
                mutation(
                        "a query that sees the key after its own",
                        "attention.cu",
                        "j0 + lane <= offset + place.row + r",
                        "j0 + lane <= offset + place.row + r + 1",
                        List.of(),
                        "attentionSeesNothingThatComesLater"),
                mutation(
                        "a gradient of keys without its scale",
                        "attention.cu",
                        "dk[r], scale, head_size",
                        "dk[r], 1, head_size",
                        List.of(),
                        "attentionToSpecialScores"),
                mutation(
                        "another dropout mask backward than forward",
                        "attention.cu",
                        "(mask_row + i0 + lane) * t + place.row",
                        "(mask_row + i0 + lane) * t + place.row + 1",
                        List.of(),
                        "attention"),
                mutation(
                        "a dropout mask of another purpose",
                        "common/philox.cuh",
                        "unsigned(stream.purpose) << 16",
                        "unsigned(stream.purpose + 1) << 16",
                        List.of("residual.cu", "layer_norm.cu"),
                        "residual"),
                mutation(
                        "a softmax that does not subtract the maximum",
                        "common/online_softmax.cuh",
                        "expf(x - max)",
                        "expf(x)",
                        List.of("softmax.cu"),
                        "softmax"),
                mutation(
                        "a first moment with the decay of the second",
                        "adamw.cu",
                        "m[k] = beta1 * m[k]",
                        "m[k] = beta2 * m[k]",
                        List.of(),
                        "adamW"),
                mutation(
                        "a gradient without the last row",
                        "layer_norm.cu",
                        "row < rows; row += ",
                        "row < rows - 1; row += ",
                        List.of(),
                        "layerNorm"),
                mutation(
                        "a long row of which every other stretch is passed over",
                        "common/norm.cuh",
                        "p++, j += THREADS * PACK<T>",
                        "p++, j += 2 * THREADS * PACK<T>",
                        List.of("layer_norm.cu", "sum.cu"),
                        "layerNorm"),
                mutation(
                        "a norm that skips what a second pass should take",
                        "adamw.cu",
                        "int stride = gridDim.x",
                        "int stride = 2 * gridDim.x",
                        List.of(),
                        "gradNorm"),
                bf16Attention(
                        "a tile multiplied before it has come",
                        "copy_wait();\n        __syncthreads();  // this tile has come",
                        "__syncthreads();  // this tile has come",
                        "attention",
                        null),
                bf16Attention(
                        "rows put together where others still read the last tile",
                        "__syncthreads();  // all have read the last tile",
                        "",
                        "attention",
                        "attention_bf16_64"),
                bf16Attention(
                        "a query that sees the key after it",
                        "> query + e / 2 * 8",
                        "> query + e / 2 * 8 + 1",
                        "attentionSeesNothingThatComesLater",
                        null),
                bf16Attention(
                        "what is dropped in the gradients of keys and values, not where it was",
                        "* kept_bytes(t) + row / 8",
                        "* kept_bytes(t) + row / 16",
                        "attention",
                        null),
                new Mutation(
                        "a cached token that is not counted",
                        "attention_bf16.cu",
                        "j <= last ? left : 0",
                        "j < last ? left : 0",
                        List.of(),
                        "SimtBf16AttentionTest#attentionCached",
                        null),
                packed(
                        "a largest magnitude that passes over NaN",
                        "common/int8.cuh",
                        "largest = row_max<THREADS>(largest);",
                        "largest = __float_as_uint(row_max<THREADS>(__uint_as_float(largest)));",
                        "aRowThatIsNotFiniteGivesNaN",
                        null),
                packed(
                        "codes behind a row that are not zeroed",
                        "common/int8.cuh",
                        "j < stride; j +=",
                        "j < c; j +=",
                        "quantizeInt8",
                        null),
                packed(
                        "no barrier between the sums of several warps and their sum",
                        "packed.cu",
                        "__syncthreads();",
                        "",
                        "packedLinear",
                        "packed_linear_1bit_8"),
                packed(
                        "a row of tokens read that is not there",
                        "packed.cu",
                        "outputs.rows - 1 - first_token",
                        "outputs.rows - first_token",
                        "packedLinear",
                        "packed_linear_1bit_8"),
                packed(
                        "codes unpacked for cuBLAS into each other's columns",
                        "packed.cu",
                        "slot / 2 % 2 * 16",
                        "slot % 2 * 16",
                        "packedLinear",
                        null),
                fused(
                        "no barrier between two operations of a sequence",
                        "sequence.cu",
                        "__syncthreads();  // what was written is read next",
                        "",
                        "sequence_f32"),
                fused(
                        "no barrier before a product's parts are written again",
                        "sequence.cu",
                        "__syncthreads();  // they are added up before the next ones are written",
                        "",
                        "sequence_f32"),
                fused(
                        "a key's gradient without that of its own query",
                        "sequence.cu",
                        "for (int i = r; i < t; i++)",
                        "for (int i = r + 1; i < t; i++)",
                        null),
                fused("a sum that leaves out a sequence", "sequence.cu", "b < count; b++", "b < count - 1; b++", null));
    }

    /** A worker compiles while another tests. */
    @BeforeAll
    static void begin() {
        Simt.build();
        workers = Executors.newFixedThreadPool(2);
        for (Mutation mutation : mutations()) {
            Path folder = temp.resolve(String.valueOf(RESULTS.size()));
            RESULTS.put(mutation, workers.submit(() -> tests(build(mutation, folder), mutation.test())));
        }
    }

    @AfterAll
    static void end() {
        if (workers != null) {
            workers.shutdownNow();
        }
    }

    @ParameterizedTest
    @org.junit.jupiter.params.provider.MethodSource("mutations") // the launcher has a class of this name
    void isCaught(Mutation mutation) throws Throwable {
        List<String> lines;
        try {
            lines = RESULTS.get(mutation).get();
        } catch (ExecutionException e) {
            throw e.getCause();
        }
        List<String> failures =
                lines.stream().filter(line -> line.startsWith("failed ")).toList();
        assertThat(failures)
                .as("failures of %s; make it test what this breaks", mutation.test())
                .isNotEmpty();
        if (mutation.names() != null) {
            assertThat(failures.get(0)).contains("(kernel " + mutation.names() + ")");
        }
    }

    /** Compiles a mutation's kernels; the library of all. */
    private static Path build(Mutation mutation, Path folder) throws IOException, InterruptedException {
        Path source = KERNELS.resolve(mutation.file());
        String text = Files.readString(source);
        int at = text.indexOf(mutation.from());
        assertThat(at >= 0 && at == text.lastIndexOf(mutation.from()))
                .as("%s has the text \"%s\" once; fit the mutation to it", source, mutation.from())
                .isTrue();
        Path mutated = folder.resolve("kernels");
        copy(KERNELS.resolve("common"), mutated.resolve("common"));
        for (String kernel : mutation.kernels()) {
            Files.copy(KERNELS.resolve(kernel), mutated.resolve(kernel));
        }
        Files.writeString(mutated.resolve(mutation.file()), text.replace(mutation.from(), mutation.to()));

        ProcessBuilder build = new ProcessBuilder("scripts/build-simt", folder.toString());
        build.environment().put("CHANGED", mutated.toString());
        run(build);
        return folder.resolve("libkernels.so");
    }

    private static void copy(Path folder, Path target) throws IOException {
        Files.createDirectories(target);
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, target.resolve(file.getFileName()));
            }
        }
    }

    /** What {@link #main} prints when the SIMT driver runs these kernels. */
    private static List<String> tests(Path kernels, String test) throws IOException, InterruptedException {
        ProcessBuilder java = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1", // it ends before more would pay
                "-Ddrakegpt.log=" + System.getProperty("drakegpt.log"),
                "-cp",
                System.getProperty("java.class.path"),
                KernelMutationTest.class.getName(),
                test);
        java.environment().put("SIMT_KERNELS", kernels.toAbsolutePath().toString());
        java.environment().put("CUDA_LAUNCH_BLOCKING", "1"); // so that a failure names one kernel
        return run(java)
                .lines()
                .filter(line -> line.startsWith("passed ") || line.startsWith("failed "))
                .toList();
    }

    private static String run(ProcessBuilder builder) throws IOException, InterruptedException {
        Process process = builder.redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(output).isZero();
        return output;
    }

    /** Runs tests up to the first that fails, and prints each one's result with its method's name. */
    public static void main(String[] args) {
        String[] parts = args[0].split("#");
        List<String> methods = List.of(parts[1].split(","));
        PostDiscoveryFilter selected = test -> FilterResult.includedIf(test.getSource()
                .filter(MethodSource.class::isInstance)
                .map(MethodSource.class::cast)
                .map(source -> methods.contains(source.getMethodName()))
                .orElse(true));
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
                .selectors(DiscoverySelectors.selectClass(KernelMutationTest.class.getPackageName() + "." + parts[0]))
                .filters(selected)
                .build();
        CancellationToken firstFailure = CancellationToken.create();
        LauncherFactory.create()
                .execute(LauncherExecutionRequestBuilder.request(request)
                        .cancellationToken(firstFailure)
                        .listeners(new TestExecutionListener() {
                            @Override
                            public void executionFinished(TestIdentifier test, TestExecutionResult result) {
                                if (result.getThrowable().isPresent()) {
                                    System.out.println("failed " + name(test) + ": "
                                            + String.valueOf(result.getThrowable()
                                                            .get())
                                                    .replace('\n', ' '));
                                    firstFailure.cancel();
                                } else if (test.isTest()) {
                                    System.out.println("passed " + name(test));
                                }
                            }
                        })
                        .build());
    }

    private static String name(TestIdentifier test) {
        return test.getSource()
                .filter(MethodSource.class::isInstance)
                .map(source -> ((MethodSource) source).getMethodName())
                .orElse(test.getDisplayName());
    }
}
