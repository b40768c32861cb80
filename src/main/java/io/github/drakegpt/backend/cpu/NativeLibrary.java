package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.NativeFolder;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Path;

/** Loads the CPU's native code, {@code native/cpu}: it is for Linux on x86-64, and in the jar if there was a compiler. */
final class NativeLibrary {
    /** What it is for, as javacpp calls it. */
    static final String PLATFORM = "linux-x86_64";
    /** The library within this package: {@code scripts/build-native} puts it there. */
    static final String RESOURCE = PLATFORM + "/libdrakegpt.so";

    private NativeLibrary() {}

    /**
     * Loads the library; later calls change nothing.
     *
     * @param resource its name within this package
     * @param cache below which it is unpacked
     * @throws IOException if it is not for this platform or not in this build, or cannot be unpacked or loaded
     */
    static void load(String resource, Path cache) throws IOException {
        String system = System.getProperty("os.name") + " " + System.getProperty("os.arch");
        if (!system.equals("Linux amd64")) {
            throw new IOException("native code is for Linux on x86-64");
        }
        URL library = NativeLibrary.class.getResource(resource);
        if (library == null) {
            throw new IOException("this build has no " + resource);
        }
        load(library, cache);
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
}
