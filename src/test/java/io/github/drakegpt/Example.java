package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A program of {@code src/examples}, and the command in its comment. */
record Example(Path file, List<String> command) {
    static final Path FOLDER = Path.of("src/examples/java");

    private static final Pattern COMMAND = Pattern.compile("<pre>(java .+)</pre>");
    private static final String JAR = "target/drakegpt.jar";

    static Example of(String name) throws IOException {
        Path file = FOLDER.resolve(name + ".java");
        Matcher command = COMMAND.matcher(Files.readString(file));
        assertThat(command.find()).as("%s has its command in a comment", file).isTrue();
        return new Example(file, List.of(command.group(1).split(" ")));
    }

    /** Runs the command with the classes that are being tested instead of the jar that is made of them later. */
    String run(Path folder, Map<String, String> environment) throws IOException, InterruptedException {
        List<String> words = new ArrayList<>();
        for (String word : command) {
            words.add(
                    word.equals("java")
                            ? Path.of(System.getProperty("java.home"), "bin", "java")
                                    .toString()
                            : word.equals(JAR)
                                    ? System.getProperty("java.class.path")
                                    : word.equals(file.toString())
                                            ? file.toAbsolutePath().toString()
                                            : word);
        }
        assertThat(words)
                .contains(
                        System.getProperty("java.class.path"),
                        file.toAbsolutePath().toString());
        Path output = folder.resolve("output");
        ProcessBuilder builder =
                new ProcessBuilder(words).directory(folder.toFile()).redirectOutput(output.toFile());
        builder.redirectError(folder.resolve("errors").toFile());
        builder.environment().putAll(environment);
        Process process = builder.start();
        boolean ended = process.waitFor(5, TimeUnit.MINUTES);
        process.destroyForcibly();
        assertThat(ended && process.exitValue() == 0)
                .as("%s ended well: %s%s", file, Files.readString(output), Files.readString(folder.resolve("errors")))
                .isTrue();
        return Files.readString(output);
    }
}
