package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.NativeFolder;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Path;
import java.util.List;

/** Loads the CPU's native code, {@code native/cpu}: it is for Linux on x86-64, and in the jar if there was a compiler. */
final class NativeLibrary {
    /** The platform that it is for. */
    static final String PLATFORM = "linux-x86_64";
    /** The library within this package: {@code scripts/build-native} puts it there. */
    static final String RESOURCE = PLATFORM + "/libdrakegpt.so";

    /** Instruction sets that the library has kernels for; a processor that has one of them also has those before it. */
    enum Instructions {
        AVX2("AVX2"),
        AVX512("AVX-512 VNNI");

        private final String title;

        Instructions(String title) {
            this.title = title;
        }

        @Override
        public String toString() {
            return title;
        }
    }

    private NativeLibrary() {}

    /**
     * Loads the library; later calls change nothing.
     *
     * @param resource its name within this package
     * @param cache below which it is unpacked
     * @return the instructions that this processor has, the fastest ones last
     * @throws IOException if it is not for this platform or not in this build, or cannot be unpacked or loaded
     */
    static List<Instructions> load(String resource, Path cache) throws IOException {
        String system = System.getProperty("os.name") + " " + System.getProperty("os.arch");
        if (!system.equals("Linux amd64")) {
            throw new IOException("native code is for Linux on x86-64");
        }
        URL library = NativeLibrary.class.getResource(resource);
        if (library == null) {
            throw new IOException("this build has no " + resource);
        }
        load(library, cache);
        return List.of(Instructions.values()).subList(0, supported());
    }

    /** Loads any library of a jar. */
    static Path load(URL library, Path cache) throws IOException {
        Path file = NativeFolder.open(cache).put(library);
        try {
            System.load(file.toString());
        } catch (UnsatisfiedLinkError e) {
            throw new IOException(e.getMessage(), e);
        }
        return file;
    }

    /** The number of instruction sets, from the first on, that processor and operating system support. */
    private static native int supported();
}
