package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the native library calls of the system, as {@code nm} lists it. */
class NativeLibraryTest {
    /** Memory, threads, the end of the process; {@code _Zn} and {@code _Zd} are C++'s new and delete. */
    private static final Pattern FORBIDDEN = Pattern.compile(
            "_Z[nd].*|.*alloc.*|.*memalign|free|mmap.*|s?brk|pthread_.*|fork|exec.*|_?_?exit.*|abort|raise|kill|signal|"
                    + "dlopen|dlsym|__cxa_throw.*|__assert_fail");

    @ParameterizedTest
    @ValueSource(strings = {"linux-x86_64", "linux-aarch64"})
    void nativeCodeAllocatesNothingAndNeverEndsTheProcess(String platform) throws Exception {
        URL library = NativeLibrary.class.getResource(platform + "/libdrakegpt.so");
        assumeTrue(library != null, "no library is built for " + platform);
        Process nm = new ProcessBuilder(
                        "nm",
                        "-D",
                        "-P",
                        "--undefined-only",
                        Path.of(library.toURI()).toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        List<String> imports = new String(nm.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                .lines()
                .map(line -> line.split("[@ ]")[0])
                .toList();

        assertThat(nm.waitFor()).isZero();
        assertThat(imports).contains("memcpy").noneMatch(FORBIDDEN.asMatchPredicate());
    }
}
