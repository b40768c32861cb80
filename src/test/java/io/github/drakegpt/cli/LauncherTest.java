package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code scripts/drakegpt} with and without {@code scripts/build-archive}'s archive, over a jar of one class. */
class LauncherTest {
    private static final String CLASS = Echo.class.getName().replace('.', '/') + ".class";
    private static final String FROM_ARCHIVE = Echo.class.getName() + " source: shared objects file";

    @TempDir
    Path temp;

    private Path home;
    private Path archive;

    /** Stands for the command line. */
    static final class Echo {
        public static void main(String[] args) {
            System.out.println(List.of(args) + " in " + System.getProperty("drakegpt.home"));
        }
    }

    @BeforeEach
    void makeProject() throws IOException {
        assumeTrue(Files.exists(Path.of("/bin/bash")), "the launcher needs bash");
        home = Files.createDirectories(temp.toRealPath().resolve("project"));
        Files.createDirectories(home.resolve("src/main"));
        Files.createDirectories(home.resolve("native/cpu"));
        Files.createFile(home.resolve("pom.xml"));
        Files.createDirectory(home.resolve("scripts"));
        for (String script : List.of("drakegpt", "build-archive")) {
            Files.copy(Path.of("scripts", script), home.resolve("scripts").resolve(script));
        }
        Path target = Files.createDirectory(home.resolve("target"));
        archive = target.resolve("drakegpt.jsa");
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
        manifest.getMainAttributes().put(Attributes.Name.MAIN_CLASS, Echo.class.getName());
        try (OutputStream file = Files.newOutputStream(target.resolve("drakegpt.jar"));
                JarOutputStream jar = new JarOutputStream(file, manifest);
                InputStream bytes = LauncherTest.class.getClassLoader().getResourceAsStream(CLASS)) {
            jar.putNextEntry(new JarEntry(CLASS));
            bytes.transferTo(jar);
        }
    }

    @Test
    void startsWithoutAnArchive() throws Exception {
        assertThat(launch("")).isEqualTo(expected());
        assertThat(launch("-Xlog:class+load")).doesNotContain(FROM_ARCHIVE);
    }

    @Test
    void startsFromTheArchiveOfItsJava() throws Exception {
        assertThat(build()).isEmpty();
        assertThat(launch("")).isEqualTo(expected());
        assertThat(launch("-Xlog:class+load")).contains(FROM_ARCHIVE);

        Files.writeString(home.resolve("target/drakegpt.jsa.release"), "JAVA_VERSION=\"1.4\"\n");
        assertThat(launch("-Xlog:class+load")).doesNotContain(FROM_ARCHIVE).contains("source: shared objects file");
    }

    @Test
    void passesOverAnArchiveThatDoesNotFit() throws Exception {
        assertThat(build()).isEmpty();
        Files.setLastModifiedTime(home.resolve("target/drakegpt.jar"), FileTime.from(Instant.now()));
        assertThat(launch("")).isEqualTo(expected());

        assertThat(build()).isEmpty();
        byte[] half = Arrays.copyOf(Files.readAllBytes(archive), 1 << 20);
        Files.delete(archive); // it cannot be written to
        Files.write(archive, half);
        assertThat(launch("")).isEqualTo(expected());

        Files.delete(archive);
        assertThat(launch("")).isEqualTo(expected());
    }

    @Test
    void buildingSucceedsAndSaysWhyThereIsNoArchive() throws Exception {
        assertThat(build()).isEmpty();
        Files.writeString(home.resolve("target/drakegpt.jar"), "no jar");
        assertThat(build())
                .startsWith(
                        "drakegpt.jsa is not built, the command line starts without it, more slowly: java failed: ");
        assertThat(archive).doesNotExist();
        assertThat(home.resolve("target")).isDirectoryNotContaining("glob:**/archive.*");
    }

    /** A build takes a while: what it does is shown in a few lines, and all of it if it fails. */
    @Test
    void buildsWhatIsNotThereAndShowsWhatItDoes() throws Exception {
        Path jar = home.resolve("target/drakegpt.jar");
        Path ready = Files.move(jar, temp.resolve("ready.jar"));
        maven("""
                echo '[INFO] Downloaded from central: a'
                echo '[INFO] Downloaded from central: b'
                echo '[INFO] --- maven-compiler-plugin:3:compile (default-compile) @ drakegpt ---'
                echo '[INFO] Downloaded from central: c'
                echo '[INFO] --- maven-shade-plugin:3:shade (default) @ drakegpt ---'
                mv %s %s
                """.formatted(ready, jar));
        assertThat(launch(""))
                .startsWith("Building " + jar)
                .endsWith("\n  downloading what the build needs\n  compiling Java\n  making the jar\n" + expected());
        assertThat(home.resolve("target/build.log")).content().contains("central: c");
        assertThat(launch("")).isEqualTo(expected());
    }

    @Test
    void aBuildThatFailsShowsMavensErrors() throws Exception {
        Files.delete(home.resolve("target/drakegpt.jar"));
        maven("""
                echo '[INFO] fine'
                echo '[ERROR] a semicolon is missing'
                exit 1
                """);
        ProcessBuilder builder = launcher("scripts/drakegpt");
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).isEqualTo(1);
        assertThat(output)
                .doesNotContain("fine")
                .contains("[ERROR] a semicolon is missing\ndrakegpt: the build failed; mend what Maven reports above");
    }

    /** Puts a Maven on the path that does this. */
    private void maven(String script) throws IOException {
        Path mvn = Files.createDirectories(temp.resolve("bin")).resolve("mvn");
        Files.writeString(mvn, "#!/bin/sh\n" + script);
        assertThat(mvn.toFile().setExecutable(true)).isTrue();
    }

    /** As most containers are: without a locale Java takes arguments for ASCII. */
    @Test
    void readsArgumentsOutsideOfAsciiWithoutALocale() throws Exception {
        assertThat(bash(
                        "exec \"$0\" \"$1\" 2>&1",
                        home.resolve("scripts/drakegpt").toString()))
                .isEqualTo("[\u00e9] in " + home + "\n");
        List<String> command = Cli.command(temp, List.of(), "score");
        assertThat(bash("\"$0\" \"${@:2}\" --string \"$1\" 2>&1; echo $?", command.toArray(String[]::new)))
                .startsWith("drakegpt: An argument has characters that Java could not read in this locale (")
                .endsWith("); set LC_ALL=C.UTF-8, or write the text into a file.\n2\n");
    }

    /**
     * Runs bash's {@code script} without a locale.
     *
     * @param arguments $0, then, behind an accented letter as $1, the others
     */
    private static String bash(String script, String... arguments) throws Exception {
        ProcessBuilder builder =
                new ProcessBuilder("bash", "-c", "set -- \"$(printf '\\303\\251')\" \"$@\"; " + script);
        builder.command().addAll(List.of(arguments));
        builder.environment().keySet().removeIf(name -> name.startsWith("LC_") || name.startsWith("LANG"));
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return output;
    }

    private String expected() {
        return "[generate, --prompt, two words] in " + home + "\n";
    }

    private String launch(String options) throws Exception {
        return run(options, "scripts/drakegpt", "generate", "--prompt", "two words");
    }

    private String build() throws Exception {
        return run("", "scripts/build-archive", System.getProperty("java.home"));
    }

    /** Runs a script of the project with this Java; it has to succeed. */
    private String run(String options, String script, String... arguments) throws Exception {
        ProcessBuilder builder = launcher(script);
        builder.command().addAll(List.of(arguments));
        builder.environment().put("DRAKEGPT_JAVA_OPTS", options);
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).as(output).isZero();
        return output;
    }

    private ProcessBuilder launcher(String script) {
        ProcessBuilder builder = new ProcessBuilder("bash", home.resolve(script).toString());
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        builder.environment().merge("PATH", temp.resolve("bin") + ":", (path, bin) -> bin + path);
        return builder.redirectErrorStream(true);
    }
}
