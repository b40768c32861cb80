package io.github.drakegpt.cli;

import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.backend.Rank;
import io.github.drakegpt.backend.mpi.MpiCollective;
import io.github.drakegpt.train.DivergedException;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;

/**
 * The processes that train one model together. The first speaks to the user; the others write what they have to say into a
 * log, which is shown if they fail.
 */
final class Processes implements AutoCloseable {
    /** One alone. */
    static final Processes ALONE = new Processes(Collective.ALONE);

    private static final int LINES_SHOWN = 20;

    private static PrintStream console = System.err; // of this process, whatever becomes of System.err
    private static Path log; // or null

    private final Collective collective;
    private Exception agreed; // what all of them throw

    private Processes(Collective collective) {
        this.collective = collective;
    }

    /** What a command does in each of them. */
    @FunctionalInterface
    interface Work {
        int run(Processes processes) throws Exception;
    }

    /** Which of them this is. */
    static Rank rank() {
        return Rank.of(System.getenv());
    }

    /** Sends what others than the first print into a log. */
    static void hush() throws IOException {
        console = System.err;
        if (!rank().isFirst()) {
            log = Files.createTempFile("drakegpt-rank-" + rank().number() + "-", ".log");
            PrintStream stream = new PrintStream(new FileOutputStream(log.toFile()), true, StandardCharsets.UTF_8);
            System.setOut(stream);
            System.setErr(stream);
        }
    }

    /** Does the work in this process alone, or together with others where it is one of several. */
    static int run(Work work) throws Exception {
        Rank rank = rank();
        if (rank.size() == 1) {
            return work.run(ALONE);
        }
        Collective collective = MpiCollective.start(rank, Processes::lastWords);
        Processes processes = new Processes(collective);
        try (processes) {
            int code = work.run(processes);
            forgetLog();
            return code;
        } catch (Exception | Error e) {
            if (e instanceof DivergedException || e == processes.agreed) { // as all of them do
                forgetLog();
                if (rank.isFirst()) {
                    throw e;
                }
                return 1;
            }
            collective.abort(
                    "Rank " + rank.number() + " on " + collective.host(rank.number()) + ": " + Main.sentence(e));
            throw e;
        }
    }

    private static void forgetLog() throws IOException {
        if (log != null) {
            Files.deleteIfExists(log);
        }
    }

    /** Says why all processes end, after the last lines of this one's log. */
    private static void lastWords(String reason) {
        if (log != null) {
            try {
                List<String> lines = Files.readAllLines(log);
                lines.subList(Math.max(0, lines.size() - LINES_SHOWN), lines.size())
                        .forEach(line -> console.println("rank " + rank().number() + " | " + line));
                forgetLog();
            } catch (IOException e) {
                console.println("drakegpt: " + log + " could not be read: " + Main.sentence(e));
            }
        }
        console.println("drakegpt: " + reason);
        console.flush();
    }

    Collective collective() {
        return collective;
    }

    boolean areSeveral() {
        return collective.rank().size() > 1;
    }

    /** Whether this is the one that writes files and speaks to the user. */
    boolean isFirst() {
        return collective.rank().isFirst();
    }

    /** Waits until all have come to the same place. */
    void meet() {
        collective.gather(new byte[0]);
    }

    /** Does something that may fail in any of them, and then fails in all of them with the first one's sentence. */
    <T> T agree(Callable<T> work) throws Exception {
        if (!areSeveral()) {
            return work.call();
        }
        T result = null;
        String failure = "";
        try {
            result = work.call();
        } catch (IOException | RuntimeException e) {
            failure = (e instanceof IllegalArgumentException ? "usage " : "failed ") + Main.sentence(e);
        }
        List<String> failures = collective.gather(failure);
        for (int r = 0; r < failures.size(); r++) {
            String first = failures.get(r);
            if (!first.isEmpty()) {
                boolean all = failures.stream().allMatch(first::equals);
                String sentence = (all ? "" : "Rank " + r + " on " + collective.host(r) + ": ")
                        + first.substring(first.indexOf(' ') + 1);
                throw agreed(
                        first.startsWith("usage") ? new IllegalArgumentException(sentence) : new IOException(sentence));
            }
        }
        return result;
    }

    private Exception agreed(Exception e) {
        agreed = e;
        return e;
    }

    /**
     * Compares what must be the same in all of them.
     *
     * @param facts names and values
     * @throws IllegalArgumentException that names the first that differs
     */
    void compare(Map<String, String> facts) throws Exception {
        for (Map.Entry<String, String> fact : facts.entrySet()) {
            List<String> all = collective.gather(fact.getValue());
            String first = all.get(0);
            for (int r = 1; r < all.size(); r++) {
                if (!all.get(r).equals(first)) {
                    throw agreed(new IllegalArgumentException("Rank " + r + " on " + collective.host(r)
                            + " has another " + fact.getKey() + " (" + all.get(r) + ") than rank 0 on "
                            + collective.host(0) + " (" + first + "); give all processes the same."));
                }
            }
        }
    }

    /** The processes that share the cores that this one may use. */
    int onTheseCores() throws IOException {
        if (!areSeveral()) {
            return 1;
        }
        String cores = Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith("Cpus_allowed_list"))
                .findFirst()
                .orElse("");
        int own = collective.rank().number();
        List<String> all = collective.gather(cores);
        return (int) IntStream.range(0, all.size())
                .filter(r -> all.get(r).equals(cores) && collective.host(r).equals(collective.host(own)))
                .count();
    }

    @Override
    public void close() {
        collective.close();
    }
}
