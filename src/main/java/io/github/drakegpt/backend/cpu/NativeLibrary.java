package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.NativeFolder;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * Loads the CPU's native code, {@code native/cpu}: it is for Linux on x86-64 and on aarch64, and in the jar if there was a
 * compiler for that.
 */
final class NativeLibrary {
    /** The platform that it is for here. */
    static final String PLATFORM = System.getProperty("os.arch").equals("aarch64") ? "linux-aarch64" : "linux-x86_64";
    /** The library within this package: {@code scripts/build-native} puts it there. */
    static final String RESOURCE = PLATFORM + "/libdrakegpt.so";

    /** What to do where no native code can run. */
    static final String NO_MEND = "there is nothing to fix";

    /** Instruction sets that there are kernels for, in the order of native/cpu/call_jni.cpp: faster ones later. */
    enum Instructions {
        AVX2("AVX2", true),
        AVX512("AVX-512 VNNI", true),
        AMX("AVX-512 and AMX", true),
        NEON("NEON", false);

        private final String title;
        private final boolean packed;

        Instructions(String title, boolean packed) {
            this.title = title;
            this.packed = packed;
        }

        /** Whether there are kernels for packed weights, too. */
        boolean packed() {
            return packed;
        }

        @Override
        public String toString() {
            return title;
        }
    }

    /** The library cannot be used; the message is the reason. */
    static final class UnusableException extends IOException {
        private static final long serialVersionUID = 1;

        private final String mend;

        private UnusableException(String reason, String mend, Throwable cause) {
            super(reason, cause);
            this.mend = mend;
        }

        /** What to do. */
        String mend() {
            return mend;
        }
    }

    private NativeLibrary() {}

    /**
     * Loads the library; later calls change nothing.
     *
     * @param resource its name within this package
     * @param cache below which it is unpacked
     * @return the instructions that this processor has, the fastest ones last
     * @throws UnusableException if it is not for this platform or not in this build, or cannot be unpacked or loaded
     */
    static List<Instructions> load(String resource, Path cache) throws UnusableException {
        String system = System.getProperty("os.name") + " " + System.getProperty("os.arch");
        if (!system.equals("Linux amd64") && !system.equals("Linux aarch64")) {
            throw new UnusableException("native code is for Linux on x86-64 and on aarch64", NO_MEND, null);
        }
        URL library = NativeLibrary.class.getResource(resource);
        if (library == null) {
            throw new UnusableException(
                    "this build has no " + resource,
                    "install g++ (apt install g++) and build again with mvn package, which says what else is missing",
                    null);
        }
        load(library, cache);
        int supported = supported();
        return Arrays.stream(Instructions.values())
                .filter(instructions -> (supported >> instructions.ordinal() & 1) != 0)
                .toList();
    }

    private static void load(URL library, Path cache) throws UnusableException {
        Path file;
        try {
            file = NativeFolder.open(cache).put(library);
        } catch (IOException e) {
            throw new UnusableException(
                    "the native kernels could not be unpacked",
                    "make room and let this user write in " + cache + " or " + System.getProperty("java.io.tmpdir"),
                    e);
        }
        try {
            System.load(file.toString());
        } catch (UnsatisfiedLinkError e) {
            throw new UnusableException(
                    "the native kernels could not be loaded: " + e.getMessage(),
                    "build again on this machine with mvn package; if its files may not be executed there (noexec), set"
                            + " XDG_CACHE_HOME to another folder",
                    e);
        }
    }

    /** The instruction sets that processor and operating system support: a bit for each. */
    private static native int supported();
}
