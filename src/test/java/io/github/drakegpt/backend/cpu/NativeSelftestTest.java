package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.backend.cuda.Simt;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Runs {@code native/cpu/selftest}, which prints hashes of what the kernels compute on arrays that end where they should:
 * the kernels stay within them, and compute the same bits with all instructions.
 */
class NativeSelftestTest {
    private static final String SOURCE = "native/cpu/selftest/kernels.cpp";
    private static final int MINIMUM_LINES = 5000;
    /** As scripts/build-native has them. */
    private static final List<String> FLAGS =
            List.of("-std=c++17", "-fno-tree-pre", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-Wno-psabi");

    private static final List<String> SANITIZERS =
            List.of("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all");
    /** What NEON has no kernels for. */
    private static final EnumSet<Kernel> PACKED = EnumSet.of(Kernel.QUANTIZE_INT8, Kernel.PACKED_LINEAR);

    /** What touches no arrays, and counts other operations with each of the instructions. */
    private static final EnumSet<Kernel> PEAKS = EnumSet.of(Kernel.PEAK_INT8, Kernel.PEAK_BF16);

    private static List<String> sanitized;

    @TempDir
    private Path folder;

    @Test
    void kernelsStayWithinTheirArrays() throws Exception {
        assertThat(sanitized()).hasSizeGreaterThan(MINIMUM_LINES);
        EnumSet<Kernel> expected = EnumSet.complementOf(PEAKS);
        if (isAarch64()) {
            expected.removeAll(PACKED);
        }
        assertThat(sanitized().stream().map(NativeSelftestTest::kernel).collect(Collectors.toSet()))
                .isEqualTo(expected);
    }

    @ParameterizedTest
    @EnumSource
    void allInstructionsGiveTheSameBits(Instructions instructions) throws Exception {
        if (instructions == Instructions.NEON) {
            List<String> lines = neon();
            assertThat(lines)
                    .isEqualTo(sanitized().stream()
                            .filter(line -> !PACKED.contains(kernel(line)))
                            .toList());
        } else {
            assertThat(run(compiler(instructions), List.of("-O3"), List.of())).isEqualTo(sanitized());
        }
    }

    /** The kernel that a line is about. */
    private static Kernel kernel(String line) {
        return Kernel.valueOf(line.split(" ")[0].toUpperCase(Locale.ROOT));
    }

    /** The lines of a build with sanitizers, for the least instructions of this platform. */
    private List<String> sanitized() throws Exception {
        if (sanitized == null) {
            List<String> compiler = compiler(isAarch64() ? Instructions.NEON : Instructions.AVX2);
            Process nothing = compile(List.of("g++"), SANITIZERS, "-shared", "-x", "c++", "/dev/null");
            assumeTrue(nothing.waitFor() == 0, "g++ has no sanitizers here");
            sanitized = run(compiler, SANITIZERS, List.of());
        }
        return sanitized;
    }

    /** The lines of NEON, by emulation where the processor has none. */
    private List<String> neon() throws Exception {
        if (isAarch64()) {
            return run(compiler(Instructions.NEON), List.of("-O3"), List.of());
        }
        String emulator = Stream.of("qemu-aarch64", "qemu-aarch64-static")
                .filter(Simt::onPath)
                .findFirst()
                .orElse("");
        assumeTrue(
                Simt.onPath("aarch64-linux-gnu-g++") && !emulator.isEmpty(),
                "aarch64-linux-gnu-g++ or qemu-aarch64 is not on the PATH");
        return run(List.of("aarch64-linux-gnu-g++", "-static"), List.of("-O3"), List.of(emulator));
    }

    private static boolean isAarch64() {
        return System.getProperty("os.arch").equals("aarch64");
    }

    /** The compiler for instructions that this processor has. */
    private static List<String> compiler(Instructions instructions) throws IOException {
        assumeTrue(Simt.onPath("g++"), "g++ is not on the PATH");
        NativeInstructions.orSkip(instructions);
        return switch (instructions) {
            case AVX2 -> List.of("g++", "native/cpu/ternary_avx2.cpp", "-mavx2", "-mfma");
            case AVX512 -> avx512();
            case AMX -> avx512("native/cpu/ternary_amx.cpp", "-mamx-tile", "-mamx-bf16", "-mamx-int8");
            case NEON -> List.of("g++");
        };
    }

    private static List<String> avx512(String... more) {
        List<String> compiler = new ArrayList<>(List.of(
                "g++",
                "native/cpu/ternary_avx512.cpp",
                "-mavx512f",
                "-mavx512bw",
                "-mavx512vnni",
                "-mprefer-vector-width=512"));
        compiler.addAll(List.of(more));
        return compiler;
    }

    /** Compiles and runs it. Returns its lines. */
    private List<String> run(List<String> compiler, List<String> flags, List<String> emulator) throws Exception {
        finish(compile(compiler, flags, SOURCE));
        List<String> command = new ArrayList<>(emulator);
        command.add(program().toString());
        return finish(start(command));
    }

    private Process compile(List<String> compiler, List<String> flags, String... source) throws IOException {
        List<String> command = new ArrayList<>(compiler);
        command.addAll(FLAGS);
        command.addAll(flags);
        command.addAll(List.of(source));
        command.addAll(List.of("-o", program().toString()));
        return start(command);
    }

    private Path program() {
        return folder.resolve("kernels");
    }

    private static Process start(List<String> command) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("ASAN_OPTIONS", "detect_leaks=0"); // some containers do not let it look for leaks
        return builder.start();
    }

    private static List<String> finish(Process process) throws IOException, InterruptedException {
        List<String> lines =
                new String(process.getInputStream().readAllBytes()).lines().toList();
        List<String> others =
                lines.stream().filter(line -> !line.matches(".* [0-9a-f]{16}")).toList();
        assertThat(process.waitFor()).as("%s", String.join("\n", others)).isZero();
        return lines;
    }
}
