package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleFinder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A program that has the library, and what it needs, on its module path. */
class ModulePathTest {
    private static final String NEEDED = "jackson-.*|snakeyaml-.*|slf4j-api-.*|commons-.*";
    private static final String JCUDA = "|jcuda-.*|jcublas-.*|jcudnn-.*";

    private static final String MODULE = "module app { requires io.github.drakegpt; }";

    private static final String PROGRAM = """
            package app;

            import io.github.drakegpt.Device;
            import io.github.drakegpt.tensor.Tensor;

            public class Program {
                public static void main(String[] args) {
                    float[] values = {0, 0, 0, 0};
                    try (Device device = Device.open()) {
                        Tensor x = device.wrap(values, 1, 4);
                        device.softmax(x, x);
                        System.out.println(device.name() + " " + values[0] + " " + Device.class.getModule());
                    }
                }
            }
            """;

    @TempDir
    Path work;

    private Path classes;

    @BeforeEach
    void makeFolder() throws IOException {
        classes = Files.createDirectories(work.resolve("classes"));
    }

    /** The classes that are tested, and those of the libraries whose jars' names match. */
    private static String modulePath(String jars) {
        return Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> entry.endsWith("target/classes")
                        || Path.of(entry).getFileName().toString().matches(jars))
                .collect(Collectors.joining(File.pathSeparator));
    }

    /** Returns the compiler's messages; none if all is well. */
    private String compile(String program) throws IOException {
        Path source = Files.createDirectories(work.resolve("source/app"));
        List<Path> files = List.of(source.resolve("../module-info.java"), source.resolve("Program.java"));
        Files.writeString(files.get(0), MODULE);
        Files.writeString(files.get(1), program);
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter messages = new StringWriter();
        try (StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null)) {
            List<String> options = List.of("-p", modulePath(NEEDED), "-d", classes.toString());
            compiler.getTask(messages, manager, null, options, null, manager.getJavaFileObjectsFromPaths(files))
                    .call();
        }
        return messages.toString();
    }

    /** Runs the compiled program; returns its output, or its errors. */
    private String run(String jars) throws Exception {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        String path = modulePath(jars) + File.pathSeparator + classes;
        Process process = new ProcessBuilder(java, "-p", path, "-m", "app/app.Program")
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return output.lines()
                .filter(line -> !line.startsWith("SLF4J") && !line.startsWith("WARNING"))
                .collect(Collectors.joining("\n"));
    }

    @ParameterizedTest
    @ValueSource(strings = {NEEDED, NEEDED + JCUDA})
    void aProgramNeedsNoMoreThanItsModulePath(String jars) throws Exception {
        assertThat(compile(PROGRAM)).isEmpty();
        assertThat(run(jars)).matches("cpu 0.25 module io.github.drakegpt.*");
    }

    @Test
    void withoutJCudaThereIsNoGpu() throws Exception {
        assertThat(compile(PROGRAM.replace("Device.open()", "Device.open(\"cuda\")")))
                .isEmpty();
        assertThat(run(NEEDED)).contains("The device cuda cannot be used: JCuda is missing; put org.jcuda:jcuda");
    }

    @Test
    void theRestIsNotSeen() throws IOException {
        String program = PROGRAM.replace("io.github.drakegpt.tensor.Tensor", "io.github.drakegpt.backend.Backend");
        assertThat(compile(program)).contains("package io.github.drakegpt.backend is not visible");
        ModuleDescriptor module = ModuleFinder.of(Path.of("target/classes"))
                .find("io.github.drakegpt")
                .orElseThrow()
                .descriptor();
        assertThat(module.exports().stream().map(ModuleDescriptor.Exports::source))
                .containsExactlyInAnyOrder("io.github.drakegpt", "io.github.drakegpt.tensor");
    }
}
