package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.OutOfMemoryException;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUdeviceptr;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** On the SIMT driver, which also counts and fails on request. */
@Tag("simt")
@Tag("late")
class SimtDeviceTest extends DeviceLayer {
    private static final Pass PASS = Pass.evaluation(1, 1);

    /** One kernel, whatever it computes. */
    private Operation reluGrad(Tensor dy) {
        return new ReluGradOp(floats(1), dy, null);
    }

    @Override
    CudaBackend newBackend(BackendOptions options) {
        return Simt.open(options);
    }

    @Override
    @AfterEach
    void close() {
        SimtPanel.RESET.set(0);
        super.close();
    }

    @Test
    void everythingThatWasTakenIsGivenBack() {
        close();
        long before = SimtPanel.LIVE_ALLOCATIONS.get();
        open();
        int taken = backend.context().liveAllocations();
        Operation operation = reluGrad(floats(1));
        Runnable work = backend.record(arena, () -> operation.run(backend, PASS));
        work.run();
        work.run();
        assertThat(backend.context().liveAllocations()).isEqualTo(taken + 2);
        arena.close();
        assertThat(backend.context().liveAllocations()).isEqualTo(taken);
        backend.close();
        assertThat(SimtPanel.LIVE_ALLOCATIONS.get()).isEqualTo(before);
        open();
    }

    @Test
    void closingABackendClosesItsArenas() {
        close();
        long before = SimtPanel.LIVE_ALLOCATIONS.get();
        open();
        Tensor x = floats(1);
        List<String> closed = new ArrayList<>();
        Arena other = backend.newArena();
        other.onClose(() -> closed.add("arena"));
        backend.close();
        assertThat(SimtPanel.LIVE_ALLOCATIONS.get()).isEqualTo(before);
        assertThat(closed).containsExactly("arena");
        other.close();
        assertThat(closed).containsExactly("arena");
        assertThatIllegalStateException()
                .isThrownBy(x::toFloats)
                .withMessage("The backend is closed; create another one.");
        open();
    }

    @Test
    void aTensorOfAClosedArenaIsRefused() {
        Tensor x = floats(1);
        arena.close();
        assertThatIllegalStateException()
                .isThrownBy(x::toFloats)
                .withMessage("The tensor's arena is closed; use it before that.");
    }

    @Test
    void theMostMemoryAtATimeIsKnown() {
        backend.resetPeakBytes();
        long before = backend.resetPeakBytes();
        try (Arena more = backend.newArena()) {
            more.allocate(DType.F32, Shape.of(1000));
            more.allocate(DType.BF16, Shape.of(10));
        }
        try (Arena less = backend.newArena()) {
            less.allocate(DType.F32, Shape.of(10));
            assertThat(backend.resetPeakBytes()).isEqualTo(before + 4020);
        }
        assertThat(backend.resetPeakBytes()).isEqualTo(before + 40);
        assertThat(backend.resetPeakBytes()).isEqualTo(before);
    }

    @Test
    void tooLittleMemoryIsSaidWithWhatIsFree() {
        long free = arena.available();
        SimtPanel.OTHERS.set(free - (10 << 20));
        assertThat(arena.available()).isEqualTo(10 << 20);
        arena.allocate(DType.F32, Shape.of(1 << 20));
        assertThatExceptionOfType(OutOfMemoryException.class)
                .isThrownBy(() -> arena.allocate(DType.F32, Shape.of(1 << 10, 3 << 10)))
                .withMessageMatching(
                        "The GPU has no memory for a tensor F32 \\(1024, 3072\\): that takes 12.0 MB, and 6.0 of"
                                + " its [0-9,]+ MB are free; choose a smaller batch, or end what else uses the GPU"
                                + " \\(nvidia-smi shows it\\)\\.");
        assertThat(arena.allocate(DType.F32, Shape.of(1 << 10)).toFloats()).containsOnly(0f); // all is well
    }

    @Test
    void argumentsThatDoNotFitAKernelAreRefused() {
        Kernels kernels = backend.kernels();
        Kernels.Grid grid = Kernels.Grid.of(1, 1);
        Object x = DeviceStorage.pointer(floats(1), 1);
        long launches = SimtPanel.LAUNCHES.get();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernels.launch("sum", "add_f32", grid, x, x, 1))
                .withMessage("The kernel add_f32 takes 4 parameters, not 3.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernels.launch("sum", "add_f32", grid, x, x, 1f, 0))
                .withMessage("Parameter 2 of the kernel add_f32 is u32, not f32.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernels.launch("sum", "add_f32", grid, x, x, 1, 0, 5L))
                .withMessage("Parameter 4 of the kernel add_f32 is nothing, not u64.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernels.launch("sum", "subtract_f32", grid, x))
                .withMessage("kernels/sum.cu has no kernel subtract_f32; run scripts/compile-kernels.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernels.launch("subtraction", "subtract_f32", grid, x))
                .withMessageStartingWith("There are no compiled kernels subtraction.ptx in this build;");
        assertThat(SimtPanel.LAUNCHES.get()).isEqualTo(launches);
    }

    @Test
    void anIllegalAddressNamesTheKernelsThatMayHaveDoneIt() {
        Tensor x = floats(1);
        Operation operation = reluGrad(x);
        operation.run(backend, PASS);
        x.toFloats(); // all was well until here
        SimtPanel.FAIL_LAUNCH.set(1);
        operation.run(backend, PASS);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(x::toFloats)
                .withMessageStartingWith(
                        "CUDA_ERROR_ILLEGAL_ADDRESS while waiting for the GPU (kernel relu_grad_f32); what the GPU held is"
                                + " lost, the last checkpoint is whole")
                .satisfies(e -> assertThat(e.lost()).isTrue());
        assertThatExceptionOfType(CudaException.class).isThrownBy(() -> operation.run(backend, PASS));

        // What is left can be closed, and a new beginning made in the same process.
        arena.close();
        backend.close();
        open();
        assertThat(floats(1, 2).toFloats()).containsExactly(1, 2);
    }

    /** Nobody has looked before: closing is what notices, and it closes all the same. */
    @Test
    void anErrorThatClosingNoticesIsSaidAloneAndEverythingIsClosed() {
        int taken = backend.context().liveAllocations();
        Operation operation = reluGrad(floats(1));
        DeviceClock clock = backend.newClock(arena, 1);
        clock.mark(0);
        arena.onClose(() -> {
            throw new IllegalStateException("something else");
        });
        SimtPanel.FAIL_LAUNCH.set(1);
        operation.run(backend, PASS);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(arena::close)
                .satisfies(e -> assertThat(e.error()).isEqualTo("CUDA_ERROR_ILLEGAL_ADDRESS"))
                .satisfies(e -> assertThat(e.getSuppressed())
                        .singleElement()
                        .hasToString("java.lang.IllegalStateException: something else"));
        assertThat(backend.context().liveAllocations()).isEqualTo(taken);
        backend.close();

        open();
        Operation another = reluGrad(floats(1));
        SimtPanel.FAIL_LAUNCH.set(1);
        another.run(backend, PASS);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(backend::close)
                .satisfies(e -> assertThat(e.error()).isEqualTo("CUDA_ERROR_ILLEGAL_ADDRESS"))
                .satisfies(e -> assertThat(e.getSuppressed()).isEmpty());
        open();
        assertThat(floats(1, 2).toFloats()).containsExactly(1, 2);
    }

    @Test
    void anIllegalAddressInRecordedWorkNamesItsKernels() {
        Tensor x = floats(1);
        Operation add = new SumOp(List.of(floats(1)), true, x);
        Operation reluGrad = reluGrad(x);
        Runnable work = backend.record(arena, () -> {
            add.run(backend, PASS);
            reluGrad.run(backend, PASS);
        });
        work.run();
        work.run();
        x.toFloats();
        SimtPanel.FAIL_LAUNCH.set(2);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(() -> {
                    work.run();
                    x.toFloats();
                })
                .withMessageContaining(
                        "(one of the kernels add_f32, relu_grad_f32; with CUDA_LAUNCH_BLOCKING=1 in the environment the one"
                                + " is named)");
    }

    @Test
    void aLostDeviceIsSaid() {
        Tensor x = floats(1);
        SimtPanel.LOSE_DEVICE.set(1);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(x::toFloats)
                .withMessageStartingWith("CUDA_ERROR_UNKNOWN while ")
                .withMessageEndingWith(
                        "; the GPU is lost to this process, the last checkpoint is whole: look at nvidia-smi"
                                + " and the system's log, and start again.")
                .satisfies(e -> assertThat(e.lost()).isTrue());
    }

    @Test
    void anAccessBesideATensorIsCaughtAndTheKernelNamed() {
        Tensor x = floats(1, 2, 3);
        Object pointer = DeviceStorage.pointer(x, 3);
        Kernels.Grid grid = new Kernels.Grid(1, 1, 32, 8);
        backend.kernels().launch("relu", "relu_grad_f32", grid, pointer, pointer, new CUdeviceptr(), 1, 4, 1);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(x::toFloats)
                .withMessageStartingWith("CUDA_ERROR_ILLEGAL_ADDRESS while waiting for the GPU (kernel relu_grad_f32)");
    }

    /** cuBLAS notices first, and is not blamed. */
    @Test
    void aKernelThatWentWrongBeforeAMatrixProductIsNamed() {
        Operation reluGrad = reluGrad(floats(1));
        Tensor y = floats(1);
        LinearOp linear = new LinearOp(floats(1), floats(1), null, false, y);
        SimtPanel.FAIL_LAUNCH.set(1);
        reluGrad.run(backend, PASS);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(() -> {
                    backend.linear(linear, PASS);
                    y.toFloats(); // where work is done late
                })
                .withMessageContaining("CUDA_ERROR_ILLEGAL_ADDRESS")
                .withMessageContaining("relu_grad_f32");
    }
}
