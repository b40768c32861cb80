package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** What is said of kernels that do not load; that they load is tested on the devices. */
class KernelsTest {
    @Test
    void theFirstErrorOfALogIsSaid() {
        String log = "ptxas warning : Unresolved extern\n"
                + "ptxas application ptx input, line 9; error   : Unknown symbol '%r1'\n"
                + "ptxas fatal   : Ptx assembly aborted due to errors\n\0\0\0";
        assertThat(Kernels.firstError(log))
                .isEqualTo(" (ptxas application ptx input, line 9; error   : Unknown symbol '%r1')");
        assertThat(Kernels.firstError("\n  the image is not PTX text\0")).isEqualTo(" (the image is not PTX text)");
        assertThat(Kernels.firstError("\0\0")).isEmpty();
    }
}
