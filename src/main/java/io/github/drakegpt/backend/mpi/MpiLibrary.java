package io.github.drakegpt.backend.mpi;

import io.github.drakegpt.backend.NativeFolder;
import java.io.IOException;
import java.net.URL;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The machine's MPI, through {@code native/mpi}: Open MPI or MPICH, each through a library of ours that was compiled with
 * its header. A process has one of them, that of the {@code mpirun} which started it.
 */
final class MpiLibrary {
    /** The kinds of MPI, in the order in which they are tried. */
    enum Kind {
        OPEN_MPI("Open MPI", "openmpi", "OMPI_COMM_WORLD_SIZE"),
        MPICH("MPICH", "mpich", "PMI_SIZE");

        private final String title;
        private final String resource;
        private final String sign; // environment variable that its mpirun sets

        Kind(String title, String name, String sign) {
            this.title = title;
            this.resource = "linux-" + (System.getProperty("os.arch").equals("aarch64") ? "aarch64" : "x86_64")
                    + "/libdrakegpt-" + name + ".so";
            this.sign = sign;
        }

        @Override
        public String toString() {
            return title;
        }
    }

    /** What to do where MPI is missing. */
    private static final String MEND = "install Open MPI and its header where the project is built (apt install"
            + " openmpi-bin libopenmpi-dev), and build again with mvn package";

    private static Kind loaded;

    private MpiLibrary() {}

    /**
     * Loads the MPI whose {@code mpirun} started this process; where that cannot be told, the first that can be loaded.
     *
     * @throws IllegalArgumentException if there is none that can be used
     */
    static synchronized void load() {
        if (loaded != null) {
            return;
        }
        List<String> refusals = new ArrayList<>();
        for (Kind kind : Kind.values()) {
            boolean other = List.of(Kind.values()).stream()
                    .anyMatch(k -> k != kind && System.getenv(k.sign) != null && System.getenv(kind.sign) == null);
            if (other) {
                continue;
            }
            URL library = MpiLibrary.class.getResource(kind.resource);
            if (library == null) {
                refusals.add("this build knows no " + kind);
                continue;
            }
            try {
                System.load(NativeFolder.open().put(library).toString());
                loaded = kind;
                return;
            } catch (IOException | UnsatisfiedLinkError e) {
                refusals.add(kind + " cannot be loaded: " + e.getMessage());
            }
        }
        throw new IllegalArgumentException(
                "Training on several processes needs MPI (" + String.join("; ", refusals) + "); " + MEND + ".");
    }

    /** What this build knows of MPI and what of it is here: for doctor, which loads none. */
    static Map<String, String> facts() {
        Map<String, String> facts = new LinkedHashMap<>();
        for (Kind kind : Kind.values()) {
            facts.put(
                    kind.title,
                    MpiLibrary.class.getResource(kind.resource) == null
                            ? "not in this build, which only training on several processes needs: " + MEND
                            : "in this build");
        }
        return facts;
    }

    static native String version();

    /** @param mostSilence seconds after which a rank that gives no sign of life is lost */
    static native boolean start(double mostSilence);

    static native int rank();

    static native int size();

    /** @param pids of the processes of all ranks, 0 for those on other machines */
    static native void watch(int[] pids);

    static native void beat();

    /** A rank that does not answer, or -1. */
    static native int lost();

    static native boolean died();

    /** MPI's own words on its first error, or null. */
    static native String error();

    static native boolean allReduce(float[] x, int offset, int n);

    /** @param lengths receives those of the parts of the result, which is null after an error */
    static native byte[] gather(byte[] mine, int[] lengths);

    static native void abort();

    static native boolean stop();
}
