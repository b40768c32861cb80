package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.NativeFolder;
import io.github.drakegpt.backend.cpu.NativePackedKernels.Instructions;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/**
 * Which kernels a machine can use.
 *
 * @param description what they are, and if they are not native, why; for people
 */
record PackedKernelsChoice(PackedKernels kernels, String description) {
    /** The library within this package: {@code scripts/build-ternary} puts it there. */
    static final String LIBRARY = "linux-x86_64/libternary.so";

    /** This machine's, found at the first call. */
    static PackedKernelsChoice get() {
        return Found.CHOICE;
    }

    private static final class Found {
        static final PackedKernelsChoice CHOICE = of(LIBRARY, NativeFolder.userCache());
    }

    /** The fastest of the library's that the processor has instructions for, else the Java ones. */
    static PackedKernelsChoice of(String library, Path cache) {
        String system = System.getProperty("os.name") + " " + System.getProperty("os.arch");
        if (!system.equals("Linux amd64")) {
            return java("native kernels are for Linux on x86-64");
        }
        try {
            List<Instructions> supported = NativePackedKernels.load(library, cache);
            if (supported.isEmpty()) {
                return java("the processor has no AVX2");
            }
            Instructions best = supported.get(supported.size() - 1);
            return new PackedKernelsChoice(new NativePackedKernels(best), "native kernels, " + best);
        } catch (IOException e) {
            return java("the native kernels could not be loaded: " + e.getMessage());
        }
    }

    private static PackedKernelsChoice java(String reason) {
        return new PackedKernelsChoice(new JavaPackedKernels(), "plain Java, because " + reason);
    }
}
