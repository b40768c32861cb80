package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.NativeFolder;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/**
 * The kernels that a machine uses.
 *
 * @param description of the kernels for people, with the reason if they are not native
 */
record KernelsChoice(PackedKernels packed, LayerKernels layers, String description) {
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
                return java("the processor has no AVX2");
            }
            Instructions best = supported.get(supported.size() - 1);
            return new KernelsChoice(
                    new NativePackedKernels(best), new NativeLayerKernels(best), "native kernels, " + best);
        } catch (IOException e) {
            return java("the native kernels could not be loaded: " + e.getMessage());
        }
    }

    private static KernelsChoice java(String reason) {
        return new KernelsChoice(new JavaPackedKernels(), new JavaLayerKernels(), "plain Java, because " + reason);
    }
}
