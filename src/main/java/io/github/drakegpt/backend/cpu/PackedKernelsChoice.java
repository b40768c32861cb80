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
    /** This machine's, found at the first call. */
    static PackedKernelsChoice get() {
        return Found.CHOICE;
    }

    private static final class Found {
        static final PackedKernelsChoice CHOICE = of(NativeLibrary.RESOURCE, NativeFolder.userCache());
    }

    /** The fastest of the library's that the processor has instructions for, else the Java ones. */
    static PackedKernelsChoice of(String library, Path cache) {
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
