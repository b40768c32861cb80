package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Runs commands in tests: in this JVM, or in one of its own where the working directory matters. */
final class Cli {
    private Cli() {}

    record Result(int code, String out, String err) {
        /** What was printed, each line of it as JSON. */
        List<JsonNode> json() throws IOException {
            List<JsonNode> lines = new ArrayList<>();
            for (String line : out.lines().toList()) {
                lines.add(new ObjectMapper().readTree(line));
            }
            return lines;
        }
    }

    static Result run(String... args) {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream outBytes = new ByteArrayOutputStream();
        ByteArrayOutputStream errBytes = new ByteArrayOutputStream();
        try {
            System.setOut(new PrintStream(outBytes, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(errBytes, true, StandardCharsets.UTF_8));
            int code = Main.run(args);
            return new Result(
                    code, outBytes.toString(StandardCharsets.UTF_8), errBytes.toString(StandardCharsets.UTF_8));
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
    }

    /** Runs in a new JVM without a terminal, with {@code folder} as working directory and as home. */
    static Result runIn(Path folder, String... args) throws IOException, InterruptedException {
        return runIn(folder, List.of(), args);
    }

    /** As {@link #runIn(Path, String...)}, with options for the JVM. */
    static Result runIn(Path folder, List<String> java, String... args) throws IOException, InterruptedException {
        List<String> command = command(folder, java, args);
        Path out = Files.createTempFile("out", null);
        Path err = Files.createTempFile("err", null);
        try {
            ProcessBuilder builder = new ProcessBuilder(command)
                    .directory(folder.toFile())
                    .redirectOutput(out.toFile())
                    .redirectError(err.toFile());
            builder.environment().keySet().removeIf(name -> name.startsWith("KAGGLE_"));
            Process process = builder.start();
            process.getOutputStream().close();
            return new Result(process.waitFor(), Files.readString(out), Files.readString(err));
        } finally {
            Files.delete(out);
            Files.delete(err);
        }
    }

    /** What starts a command in a JVM of its own. */
    static List<String> command(Path home, List<String> java, String... args) {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                "-Duser.home=" + home));
        command.addAll(java);
        command.add(Main.class.getName());
        command.addAll(List.of(args));
        return command;
    }
}
