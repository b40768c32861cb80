package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.Tag;

/** The same with float tensors at multiples of 16 bytes, where kernels read and write so much at a time. */
@Tag("simt")
class SimtAlignedPackedOperationsTest extends SimtPackedOperationsTest {
    @Override
    protected boolean aligned() {
        return true;
    }
}
