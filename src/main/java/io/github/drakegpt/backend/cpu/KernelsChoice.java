package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.NativeFolder;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import java.nio.file.Path;
import java.util.List;

/**
 * The kernels that a machine uses.
 *
 * @param instructions of the native kernels; null for plain Java
 * @param description for people, with the reason if they are not native
 * @param mend what makes them native; empty if they are
 */
record KernelsChoice(Instructions instructions, String description, String mend) {
    /** Native kernels. */
    KernelsChoice(Instructions instructions, String description) {
        this(instructions, description, "");
    }

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
                return java("the processor has no AVX2 and FMA", NativeLibrary.NO_MEND);
            }
            Instructions best = supported.get(supported.size() - 1);
            return new KernelsChoice(best, "native kernels, " + best);
        } catch (NativeLibrary.UnusableException e) {
            return java(e.getMessage(), e.mend());
        }
    }

    /** The description and, if the kernels are not native, the mend. */
    String descriptionAndMend() {
        return mend.isEmpty() ? description : description + "; " + mend;
    }

    /** Plain Java. */
    static KernelsChoice java(String reason, String mend) {
        return new KernelsChoice(null, "plain Java, which is slower, because " + reason, mend);
    }
}
