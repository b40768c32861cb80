package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** The SIMT driver does work late where it is told to, and so notices lifetimes that are too short. */
@Tag("simt")
@Tag("late")
@EnabledIfEnvironmentVariable(named = "SIMT_LATE", matches = "1")
class SimtLateTest {
    private CudaBackend backend;

    @BeforeEach
    void open() {
        backend = Simt.open();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @Test
    void memoryThatIsFreedBeforeItsWorkIsDoneIsMissed() {
        CudaContext context = backend.context();
        CUdeviceptr memory = context.allocate(100, "a test");
        context.zero(memory, 100);
        context.free(memory);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(context::synchronize)
                .withMessageStartingWith("CUDA_ERROR_ILLEGAL_ADDRESS while waiting for the GPU");
    }

    @Test
    void pageLockedMemoryIsReadWhenTheCopyIsWaitedFor() {
        CudaContext context = backend.context();
        Pointer pinned = new Pointer();
        try (Arena arena = backend.newArena()) {
            Tensor x = arena.allocate(DType.I32, Shape.of(1));
            assertThat(JCudaDriver.cuMemAllocHost(pinned, Integer.BYTES)).isZero();
            ByteBuffer host = pinned.getByteBuffer(0, Integer.BYTES).order(ByteOrder.nativeOrder());
            host.putInt(0, 1);
            context.copyToDevice(DeviceStorage.pointer(x, 1), pinned, Integer.BYTES);
            host.putInt(0, 2);
            assertThat(x.toInts()).containsExactly(2);
            assertThat(JCudaDriver.cuMemFreeHost(pinned)).isZero();
        }
    }
}
