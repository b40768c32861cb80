package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.OutOfMemoryException;
import io.github.drakegpt.backend.Sampling;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.Random;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Contexts, memory, launches, graphs and errors: each driver's test extends this class. */
abstract class DeviceLayer {
    CudaBackend backend;
    Arena arena;

    /** A backend on the driver that is tested. */
    abstract CudaBackend newBackend();

    @BeforeEach
    void open() {
        backend = newBackend();
        arena = backend.newArena();
    }

    @AfterEach
    void close() {
        arena.close();
        backend.close();
    }

    Tensor floats(float... values) {
        Tensor tensor = arena.allocate(DType.F32, Shape.of(values.length));
        tensor.write(values);
        return tensor;
    }

    @ParameterizedTest
    @CsvSource({"1", "16383", "16384", "16385", "3000000"})
    void whatIsWrittenIsRead(int n) {
        Random random = new Random(1);
        float[] floats = new float[n];
        int[] ints = new int[n];
        char[] chars = new char[n];
        for (int i = 0; i < n; i++) {
            floats[i] = random.nextFloat();
            ints[i] = random.nextInt();
            chars[i] = (char) random.nextInt();
        }
        Tensor f = arena.allocate(DType.F32, Shape.of(n + 1)).slice(1, Shape.of(n));
        Tensor i = arena.allocate(DType.I32, Shape.of(n + 1)).slice(1, Shape.of(n));
        Tensor c = arena.allocate(DType.U16, Shape.of(n + 1)).slice(1, Shape.of(n));
        f.write(floats);
        i.write(ints);
        c.write(chars);
        char[] read = new char[n];
        c.storage().read(c.offset(), read, 0, n);
        assertThat(f.toFloats()).isEqualTo(floats);
        assertThat(i.toInts()).isEqualTo(ints);
        assertThat(read).isEqualTo(chars);
    }

    @Test
    void newTensorsAreZero() {
        assertThat(arena.allocate(DType.F32, Shape.of(1000)).toFloats()).containsOnly(0f);
    }

    @Test
    void tensorsThatDoNotFitAnOperationAreRefused() {
        Tensor three = floats(1, 2, 3);
        Tensor ints = arena.allocate(DType.I32, Shape.of(4));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.reluGrad(three, three, null, 1, 4))
                .withMessage("A tensor F32 (3) was given where 4 elements F32 are needed.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.zero(ints, 4))
                .withMessage("A tensor I32 (4) was given where F32 or BF16 is needed.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.increment(three))
                .withMessage("A tensor F32 (3) was given where 1 elements I32 are needed.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.append(ints, ints, 2, 3))
                .withMessage("A tensor I32 (4) was given where 6 elements I32 are needed.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.append(ints, three, 2, 2))
                .withMessage("A tensor F32 (3) was given where 2 elements I32 are needed.");
        RandomStream stream = new RandomStream(1, RandomStream.SAMPLE, ints);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.sample(three, Sampling.PLAIN, stream, three, ints, 1, 1, 3))
                .withMessage("A tensor F32 (3) was given where 1 elements I32 are needed.");
        try (Backend cpu = Backends.create("cpu", 1);
                Arena heap = cpu.newArena()) {
            Tensor other = heap.allocate(DType.F32, Shape.of(3));
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> backend.zero(other, 3))
                    .withMessageContaining("that is not on the GPU");
        }
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.attention(three, three, three, null, 0, 1, 1, 1, 129))
                .withMessage("A head size of 129 is not possible on the GPU; the largest is 128: use more heads.");
        Tensor wide = arena.allocate(DType.F32, Shape.of(8193));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.layerNorm(wide, wide, wide, wide, wide, 1, 8193))
                .withMessage("Rows of 8193 elements cannot be normalized on the GPU; the most are 8192.");
    }

    @Test
    void damagedKernelsAreNamed() {
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(() -> backend.kernels().load("sum", "this is no PTX"))
                .withMessageStartingWith("CUDA_ERROR_INVALID_PTX while loading the kernels of sum.ptx (")
                .satisfies(e -> assertThat(e.error()).isEqualTo("CUDA_ERROR_INVALID_PTX"))
                .satisfies(e -> assertThat(e.lost()).isFalse());
        Tensor x = floats(1);
        backend.sum(new Tensor[] {x}, 1, true, x); // from what the build holds, which is whole
        assertThat(x.toFloats()).containsExactly(2);
    }

    @ParameterizedTest
    @CsvSource({"false,false", "false,true", "true,false", "true,true"})
    void batchesOfProducts(boolean transposedA, boolean transposedB) {
        int batch = 3;
        int m = 5;
        int n = 7;
        int k = 4;
        Random random = new Random(2);
        float[] a = new float[batch * m * k];
        float[] b = new float[batch * k * n];
        for (int i = 0; i < a.length; i++) {
            a[i] = random.nextInt(9) - 4;
        }
        for (int i = 0; i < b.length; i++) {
            b[i] = random.nextInt(9) - 4;
        }
        float[] expected = new float[batch * m * n];
        for (int i = 0; i < expected.length; i++) {
            int matrix = i / (m * n);
            int row = i / n % m;
            int column = i % n;
            for (int j = 0; j < k; j++) {
                expected[i] += a[matrix * m * k + (transposedA ? j * m + row : row * k + j)]
                        * b[matrix * k * n + (transposedB ? column * k + j : j * n + column)];
            }
        }
        Tensor c = floats(new float[expected.length]);
        backend.gemm()
                .multiplyBatched(
                        DeviceStorage.pointer(floats(a), DType.F32, a.length),
                        transposedA,
                        DeviceStorage.pointer(floats(b), DType.F32, b.length),
                        transposedB,
                        DeviceStorage.pointer(c, DType.F32, expected.length),
                        m,
                        n,
                        k,
                        batch);
        assertThat(c.toFloats()).isEqualTo(expected); // whole numbers: nothing is rounded
    }

    @Test
    void recordedWorkIsLaunchedOnceThenCapturedThenReplayed() {
        Tensor x = floats(1, 2, 3);
        int[] runs = new int[1];
        Runnable work = backend.record(arena, () -> {
            runs[0]++;
            backend.sum(new Tensor[] {x}, 1, true, x);
        });
        for (int i = 0; i < 5; i++) {
            work.run();
        }
        assertThat(runs[0]).isEqualTo(2);
        assertThat(x.toFloats()).containsExactly(32, 64, 96);
    }

    @Test
    void recordedWorkMayBePartOfOther() {
        Tensor x = floats(1);
        Runnable inner = backend.record(arena, () -> backend.sum(new Tensor[] {x}, 1, true, x));
        Runnable outer = backend.record(arena, () -> {
            inner.run();
            inner.run();
        });
        for (int i = 0; i < 3; i++) {
            outer.run();
        }
        inner.run();
        assertThat(x.toFloats()).containsExactly(1 << 7);
    }

    @Test
    void theHostStaysOutOfRecordedWorkAndTheContextStaysWell() {
        Tensor x = floats(1);
        for (Runnable forbidden :
                Arrays.<Runnable>asList(x::toFloats, () -> x.write(2f), () -> arena.allocate(DType.F32, Shape.of(1)))) {
            Runnable work = backend.record(arena, forbidden);
            work.run(); // launched as it is
            assertThatIllegalStateException()
                    .isThrownBy(work::run)
                    .withMessageStartingWith("The host cannot look at or change tensors within recorded work;");
        }
        x.write(3f);
        assertThat(x.toFloats()).containsExactly(3);
    }

    @Test
    void aCallersContextAndStreamAreUsedAndLeftAlone() {
        CUdevice device = new CUdevice();
        assertThat(JCudaDriver.cuDeviceGet(device, 0)).isZero();
        CUcontext context = new CUcontext();
        assertThat(JCudaDriver.cuCtxCreate(context, 0, device)).isZero();
        CUstream stream = new CUstream();
        assertThat(JCudaDriver.cuStreamCreate(stream, 0)).isZero();
        try (CudaBackend embedded = CudaBackend.open(CudaContext.of(context, stream), BackendOptions.ofThreads(1));
                Arena own = embedded.newArena()) {
            assertThat(embedded.description()).isEqualTo(backend.description());
            Tensor x = own.allocate(DType.F32, Shape.of(2));
            x.write(1f, 2f);
            embedded.sum(new Tensor[] {x}, 1, true, x);
            assertThat(x.toFloats()).containsExactly(2, 4);
        }
        assertThat(JCudaDriver.cuStreamSynchronize(stream)).isZero();
        assertThat(JCudaDriver.cuStreamDestroy(stream)).isZero();
        assertThat(JCudaDriver.cuCtxDestroy(context)).isZero();
    }

    @Test
    void aTensorThatIsLargerThanAllMemoryIsSaidWithWhatIsFree() {
        long beyond = backend.context().memory()[1] / Float.BYTES / 1000 + 1;
        assertThatExceptionOfType(OutOfMemoryException.class)
                .isThrownBy(() -> arena.allocate(DType.F32, Shape.of(1000, Math.toIntExact(beyond))))
                .withMessageMatching(
                        "The GPU has no memory for a tensor F32 \\(1000, [0-9]+\\): that takes [0-9.]+ MB, and"
                                + " [0-9.]+ of its [0-9,]+ MB are free; choose a smaller batch, or end what else uses the GPU"
                                + " \\(nvidia-smi shows it\\)\\.");
        assertThat(arena.allocate(DType.F32, Shape.of(1 << 10)).toFloats()).containsOnly(0f); // all is well
    }
}
