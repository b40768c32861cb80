package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import jcuda.driver.JCudaDriver;

/** The SIMT driver's control panel: faults on request, and counts. native/simt/README.md describes it. */
public enum SimtPanel {
    /** Everything as it was, a broken context and a lost device too. */
    RESET(0),
    /** The n-th next allocation fails. */
    FAIL_ALLOCATION(1),
    /** The n-th next launch reports an illegal address; kernels in graphs count. */
    FAIL_LAUNCH(2),
    /** The n-th next call finds the device lost. */
    LOSE_DEVICE(3),
    /** Bytes of memory that others hold. */
    OTHERS(5),
    /** How many devices there are. */
    DEVICES(6),
    /** The driver's version, as 12060. */
    DRIVER(7),
    /** Compute capability times ten. */
    CAPABILITY(8),
    /** cuBLAS refuses the n-th next product. */
    REFUSE_PRODUCT(10),
    /** Read only: allocations that have not been freed. */
    LIVE_ALLOCATIONS(0x100),
    /** Read only: kernels launched. */
    LAUNCHES(0x102),
    /** Read only: calls of the driver. */
    CALLS(0x104);

    private static final int BASE = 0x51000000;

    private final int number;

    SimtPanel(int number) {
        this.number = number;
    }

    /** Sets a value. */
    public void set(long value) {
        assertThat(JCudaDriver.cuCtxSetLimit(BASE + number, value)).isZero();
    }

    /** Reads a value. */
    public long get() {
        long[] value = new long[1];
        assertThat(JCudaDriver.cuCtxGetLimit(value, BASE + number)).isZero();
        return value[0];
    }
}
