package io.github.drakegpt.backend.mpi;

import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.backend.Host;
import io.github.drakegpt.backend.Rank;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;

/**
 * Processes that MPI has started. Sums are those of a binary tree over the ranks, whose number must be a power of two.
 *
 * <p>Each rank watches the one before it, and ends them all if that gives no sign of life for {@link
 * #SILENCE} seconds, or its process on the same machine has ended.
 */
public final class MpiCollective implements Collective {
    /** Seconds: more than a pause of the garbage collector or of a machine, less than anyone wants to wait. */
    private static final double SILENCE = 20;

    private static final int MILLIS_BETWEEN_BEATS = 500;
    private static final int MILLIS_TO_ABORT = 3000;

    private final Rank rank;
    private final List<String> hosts = new ArrayList<>();
    private final Consumer<String> lastWords;
    private final Thread watcher;
    private volatile boolean closed;

    private MpiCollective(Rank rank, Consumer<String> lastWords) {
        this.rank = rank;
        this.lastWords = lastWords;
        this.watcher = new Thread(this::watch, "drakegpt-mpi");
        watcher.setDaemon(true);
    }

    /**
     * Starts MPI in this process and meets the others.
     *
     * @param rank what the environment says
     * @param lastWords gets the sentence that says why all processes end
     * @throws IllegalArgumentException if there is no MPI, or it knows of other processes than the environment does
     */
    public static MpiCollective start(Rank rank, Consumer<String> lastWords) {
        MpiLibrary.load();
        if (!MpiLibrary.start(SILENCE)) {
            throw new IllegalStateException("MPI does not start (" + MpiLibrary.error()
                    + "); check that mpirun hostname works, and that this MPI allows calls from any thread.");
        }
        if (MpiLibrary.size() != rank.size() || MpiLibrary.rank() != rank.number()) {
            throw new IllegalArgumentException("MPI knows of " + MpiLibrary.size() + " processes where "
                    + rank.size() + " were started; start them with the mpirun of "
                    + MpiLibrary.version().lines().findFirst().orElse("this MPI")
                    + ", with Slurm with srun --mpi=pmix.");
        }
        MpiCollective collective = new MpiCollective(rank, lastWords);
        collective.meet();
        return collective;
    }

    /** What doctor shows of MPI: names and values. */
    public static Map<String, String> facts() {
        return MpiLibrary.facts();
    }

    private void meet() {
        String host = Host.name();
        List<String> all = gather(host + " " + ProcessHandle.current().pid());
        int[] pids = new int[all.size()];
        for (int r = 0; r < pids.length; r++) {
            String[] words = all.get(r).split(" ");
            hosts.add(words[0]);
            pids[r] = words[0].equals(host) ? Integer.parseInt(words[1]) : 0;
        }
        MpiLibrary.watch(pids);
        watcher.start();
    }

    @Override
    public Rank rank() {
        return rank;
    }

    @Override
    public String host(int number) {
        return hosts.get(number);
    }

    @Override
    public void allReduce(float[] x, int offset, int n) {
        Objects.checkFromIndexSize(offset, n, x.length);
        require(MpiLibrary.allReduce(x, offset, n));
    }

    @Override
    public List<byte[]> gather(byte[] mine) {
        int[] lengths = new int[rank.size()];
        byte[] all = MpiLibrary.gather(mine, lengths);
        require(all != null);
        List<byte[]> parts = new ArrayList<>();
        int from = 0;
        for (int length : lengths) {
            parts.add(Arrays.copyOfRange(all, from, from += length));
        }
        return parts;
    }

    private void require(boolean done) {
        if (!done) {
            throw new IllegalStateException(reason());
        }
    }

    private String reason() {
        int lost = MpiLibrary.lost();
        if (lost < 0) {
            return "MPI failed: " + MpiLibrary.error() + "; go on with --resume.";
        }
        return "Rank " + lost + (hosts.isEmpty() ? "" : " on " + hosts.get(lost))
                + (MpiLibrary.died()
                        ? " has ended: it was killed, perhaps for want of memory"
                        : " gives no sign of life: it was stopped, or its machine or network is gone")
                + "; go on from the last checkpoint with --resume.";
    }

    /** Gives signs of life while this process computes, and ends it if another one is lost. */
    private void watch() {
        while (!closed) {
            MpiLibrary.beat();
            if (MpiLibrary.lost() >= 0 && !closed) {
                abort(reason());
            }
            try {
                Thread.sleep(MILLIS_BETWEEN_BEATS);
            } catch (InterruptedException e) {
                return; // it is closed
            }
        }
    }

    @Override
    public synchronized void abort(String reason) {
        if (!closed) {
            closed = true;
            lastWords.accept(reason);
            Thread end = new Thread(MpiLibrary::abort, "drakegpt-mpi-abort");
            end.setDaemon(true);
            end.start();
            try {
                end.join(MILLIS_TO_ABORT);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(1); // MPI may wait for a rank that is gone
        }
    }

    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
        }
        watcher.interrupt();
        require(MpiLibrary.stop());
    }
}
