package io.github.drakegpt.backend.cpu;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.github.drakegpt.backend.NativeFolder;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import java.io.IOException;

/** For tests of native code. */
final class NativeInstructions {
    private NativeInstructions() {}

    /** Skips the test where these cannot be used. */
    static Instructions orSkip(Instructions instructions) throws IOException {
        assumeTrue(
                NativeInstructions.class.getResource(NativeLibrary.RESOURCE) != null,
                "scripts/build-native could not build the library here");
        assumeTrue(
                NativeLibrary.load(NativeLibrary.RESOURCE, NativeFolder.userCache())
                        .contains(instructions),
                () -> "the processor has no " + instructions);
        return instructions;
    }
}
