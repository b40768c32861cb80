package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.NativeFolder;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/**
 * The kernels that a machine uses.
 *
 * @param instructions of the native kernels; null for plain Java
 * @param description for people, with the reason and the mend if they are not native
 */
record KernelsChoice(Instructions instructions, String description) {
    /** This machine's choice, made at the first call. */
    static KernelsChoice get() {
        return Found.CHOICE;
    }

    private static final class Found {
        static final KernelsChoice CHOICE = of(NativeLibrary.RESOURCE, NativeFolder.userCache());
    }

    /** The library's fastest kernels for which the processor has the instructions, or the Java ones. */
    static KernelsChoice of(String library, Path cache) {
        try {
            List<Instructions> supported = NativeLibrary.load(library, cache);
            if (supported.isEmpty()) {
                return java("the processor has no AVX2 and FMA");
            }
            Instructions best = supported.get(supported.size() - 1);
            return new KernelsChoice(best, "native kernels, " + best);
        } catch (IOException e) {
            return java("the native kernels could not be loaded: " + e.getMessage());
        }
    }

    /** Plain Java. */
    static KernelsChoice java(String reason) {
        return new KernelsChoice(null, "plain Java, because " + reason);
    }
}
