package io.github.drakegpt.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Starts this program several times on this machine, with MPI's {@code mpirun}. */
final class MpiRun {
    /** Seconds that a rank has to save after a request to stop: Open MPI kills it after one otherwise. */
    private static final int SECONDS_TO_SAVE = 15;

    private MpiRun() {}

    /**
     * Runs the command in so many processes, and waits for them.
     *
     * @param arguments of this program
     * @return 0, 2 if they refused their options, else 1
     * @throws IOException if there is no mpirun
     */
    static int run(int ranks, List<String> arguments) throws IOException {
        Process process =
                new ProcessBuilder(command(ranks, arguments)).inheritIO().start();
        // Ctrl-C reaches mpirun too, a termination signal only this process.
        Thread terminate = new Thread(() -> {
            process.destroy();
            waitFor(process);
        });
        Runtime.getRuntime().addShutdownHook(terminate);
        int code = waitFor(process);
        try {
            Runtime.getRuntime().removeShutdownHook(terminate);
        } catch (IllegalStateException e) {
            return code; // this process is being ended, and waits for them in the hook
        }
        return code <= 2 ? code : 1;
    }

    private static int waitFor(Process process) {
        boolean interrupted = false;
        while (true) {
            try {
                int code = process.waitFor();
                if (interrupted) {
                    Thread.currentThread().interrupt();
                }
                return code;
            } catch (InterruptedException e) {
                interrupted = true;
                process.destroy();
            }
        }
    }

    private static List<String> command(int ranks, List<String> arguments) throws IOException {
        int cores = Runtime.getRuntime().availableProcessors();
        List<String> command = new ArrayList<>(List.of("mpirun", "-n", Integer.toString(ranks)));
        if (version().contains("Open MPI")) {
            command.addAll(List.of("--quiet", "--mca", "odls_base_sigkill_timeout", "" + SECONDS_TO_SAVE));
            if (Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0)) {
                command.add("--allow-run-as-root"); // as this was
            }
            command.addAll(
                    ranks > cores
                            ? List.of("--oversubscribe", "--bind-to", "none")
                            : List.of("--map-by", "slot:PE=" + cores / ranks, "--bind-to", "core"));
        } else {
            command.addAll(List.of("-bind-to", ranks > cores ? "none" : "core:" + cores / ranks));
        }
        String launcher = System.getProperty("drakegpt.command");
        if (launcher != null) {
            command.add(launcher);
        } else {
            command.addAll(List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "-cp",
                    System.getProperty("java.class.path"),
                    Main.class.getName()));
        }
        command.addAll(arguments);
        return command;
    }

    private static String version() throws IOException {
        Process process;
        try {
            process = new ProcessBuilder("mpirun", "--version")
                    .redirectErrorStream(true)
                    .start();
        } catch (IOException e) {
            throw new IOException(
                    "--ranks needs mpirun, which is not on the PATH; install Open MPI (apt install openmpi-bin"
                            + " libopenmpi-dev) and build again with mvn package.",
                    e);
        }
        String version = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return version;
    }
}
