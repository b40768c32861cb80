package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.OutOfMemoryException;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.slf4j.LoggerFactory;

/** Contexts, memory, launches, graphs and errors: each driver's test extends this class. */
abstract class DeviceLayer {
    CudaBackend backend;
    Arena arena;

    /** A backend on the driver that is tested. */
    abstract CudaBackend newBackend(BackendOptions options);

    @BeforeEach
    void open() {
        backend = newBackend(BackendOptions.ofThreads(1));
        arena = backend.newArena();
    }

    @AfterEach
    void close() {
        arena.close();
        backend.close();
    }

    /** One row. */
    Tensor floats(float... values) {
        return matrix(1, values);
    }

    private Tensor matrix(int rows, float[] values) {
        Tensor tensor = arena.allocate(DType.F32, Shape.of(rows, values.length / rows));
        tensor.write(values);
        return tensor;
    }

    private Tensor counter() {
        return arena.allocate(DType.I32, Shape.of(1));
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
    void whatAGpuCannotDoIsRefused() {
        Pass pass = Pass.evaluation(1, 1);
        try (Backend cpu = Backends.create("cpu", 1);
                Arena heap = cpu.newArena()) {
            ZeroOp elsewhere = new ZeroOp(heap.allocate(DType.F32, Shape.of(1, 3)));
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> backend.zero(elsewhere, pass))
                    .withMessageContaining("that is not on the GPU");
        }
        AttentionOp attention =
                new AttentionOp(floats(new float[3 * 129]), floats(new float[129]), floats(new float[2]), null, 1);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.attention(attention, pass))
                .withMessage("A head size of 129 is not possible on the GPU; the largest is 128: use more heads.");
        Tensor weight = arena.allocate(DType.F32, Shape.of(8193));
        Tensor x = floats(new float[8193]);
        Tensor out = floats(new float[8193]);
        LayerNormOp norm = new LayerNormOp(null, x, weight, weight, out, floats(new float[2]), null);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.layerNorm(norm, pass))
                .withMessage("Rows of 8193 elements cannot be normalized on the GPU; the most are 8192.");
    }

    @Test
    void damagedKernelsAreNamed() {
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(() -> backend.kernels().load("sum", "this is no PTX"))
                .withMessageStartingWith("CUDA_ERROR_INVALID_IMAGE while loading the kernels of sum.ptx")
                .satisfies(e -> assertThat(e.error()).isEqualTo("CUDA_ERROR_INVALID_IMAGE"));
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(() -> backend.kernels().load("sum", Simt.DAMAGED_PTX))
                .withMessageStartingWith("CUDA_ERROR_INVALID_PTX while loading the kernels of sum.ptx (")
                .satisfies(e -> assertThat(e.error()).isEqualTo("CUDA_ERROR_INVALID_PTX"))
                .satisfies(e -> assertThat(e.lost()).isFalse());
        Tensor sum = floats(1);
        backend.sum(new SumOp(List.of(floats(2)), true, sum)); // from what the build holds, which is whole
        assertThat(sum.toFloats()).containsExactly(3);
    }

    @Test
    void recordedWorkIsLaunchedOnceThenCapturedThenReplayed() {
        Tensor counter = counter();
        int[] runs = new int[1];
        Runnable work = backend.record(arena, () -> {
            runs[0]++;
            backend.increment(new IncrementOp(counter));
        });
        for (int i = 0; i < 5; i++) {
            work.run();
        }
        assertThat(runs[0]).isEqualTo(2);
        assertThat(counter.toInts()).containsExactly(5);
    }

    @Test
    void recordedWorkMayBePartOfOther() {
        Tensor counter = counter();
        Runnable inner = backend.record(arena, () -> backend.increment(new IncrementOp(counter)));
        Runnable outer = backend.record(arena, () -> {
            inner.run();
            inner.run();
        });
        for (int i = 0; i < 3; i++) {
            outer.run();
        }
        inner.run();
        assertThat(counter.toInts()).containsExactly(7);
    }

    @Test
    void theHostStaysOutOfRecordedWorkAndTheContextStaysWell() {
        Tensor x = floats(1);
        DeviceClock clock = backend.newClock(arena, 2);
        for (Runnable forbidden : List.<Runnable>of(
                x::toFloats,
                () -> x.write(2f),
                () -> arena.allocate(DType.F32, Shape.of(1)),
                () -> clock.mark(0),
                () -> clock.mark(1),
                () -> clock.seconds(0, 1),
                backend.context()::synchronize)) {
            Runnable work = backend.record(arena, forbidden);
            work.run(); // launched as it is
            assertThatIllegalStateException()
                    .isThrownBy(work::run)
                    .withMessageStartingWith("Within recorded work the host cannot look at or change tensors,");
        }
        Tensor counter = counter();
        for (AutoCloseable open : List.of(arena, backend)) {
            Runnable work = backend.record(arena, () -> {
                if (backend.context().capturing()) {
                    assertThatIllegalStateException().isThrownBy(open::close);
                }
                backend.increment(new IncrementOp(counter));
            });
            counter.write(3);
            work.run();
            work.run();
            assertThat(counter.toInts()).containsExactly(5);
        }
    }

    /** What the driver does not allow in a capture, or does not notice before its end. */
    enum Offence {
        REFUSED("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED") {
            @Override
            void commit(CudaContext context, CUstream other, CUevent event) {
                context.check(JCudaDriver.cuMemAlloc(new CUdeviceptr(), 1), "allocating where it is not allowed");
            }
        },
        NOTICED_LATER("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED") {
            @Override
            void commit(CudaContext context, CUstream other, CUevent event) {
                JCudaDriver.cuMemAlloc(new CUdeviceptr(), 1);
            }
        },
        NOTICED_AT_THE_END("CUDA_ERROR_STREAM_CAPTURE_UNJOINED") {
            @Override
            void commit(CudaContext context, CUstream other, CUevent event) {
                context.check(JCudaDriver.cuEventRecord(event, context.stream()), "recording an event");
                context.check(JCudaDriver.cuStreamWaitEvent(other, event, 0), "letting a stream wait");
            }
        };

        private final String error;

        Offence(String error) {
            this.error = error;
        }

        /**
         * Does it, within recorded work that is being captured.
         *
         * @param other another stream
         */
        abstract void commit(CudaContext context, CUstream other, CUevent event);
    }

    @ParameterizedTest
    @EnumSource
    void whatCannotBeRecordedIsLaunchedPieceByPieceAndSaidOnce(Offence offence) {
        Tensor before = counter();
        Tensor after = counter();
        CUstream other = new CUstream();
        assertThat(JCudaDriver.cuStreamCreate(other, CUstream_flags.CU_STREAM_NON_BLOCKING))
                .isZero();
        CUevent event = new CUevent();
        assertThat(JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DISABLE_TIMING))
                .isZero();
        int[] runs = new int[1];
        Runnable operations = () -> {
            runs[0]++;
            backend.increment(new IncrementOp(before));
            if (backend.context().capturing()) {
                offence.commit(backend.context(), other, event);
            }
            backend.increment(new IncrementOp(after));
        };
        Runnable work = backend.record(arena, operations);
        work.run();
        assertThatExceptionOfType(CudaException.class) // tests insist on recording
                .isThrownBy(work::run)
                .satisfies(e -> assertThat(e.error()).isEqualTo(offence.error))
                .satisfies(e -> assertThat(e.lost()).isFalse());
        Logger logger = (Logger) LoggerFactory.getLogger(CudaBackend.class);
        ListAppender<ILoggingEvent> log = new ListAppender<>();
        log.start();
        logger.addAppender(log);
        logger.setAdditive(false);
        System.clearProperty(CudaBackend.STRICT);
        try {
            work.run();
            assertThat(runs[0]).isEqualTo(4); // and captured once more in vain
            work.run();
            assertThat(runs[0]).isEqualTo(5);
            Runnable alike = backend.record(arena, operations);
            alike.run();
            alike.run();
        } finally {
            System.setProperty(CudaBackend.STRICT, "true");
            logger.setAdditive(true);
            logger.detachAppender(log);
        }
        assertThat(JCudaDriver.cuStreamDestroy(other)).isZero();
        assertThat(JCudaDriver.cuEventDestroy(event)).isZero();
        assertThat(before.toInts()).containsExactly(5);
        assertThat(after.toInts()).containsExactly(5);
        assertThat(log.list)
                .filteredOn(line -> line.getLevel() == Level.WARN)
                .extracting(ILoggingEvent::getFormattedMessage)
                .containsExactly("The GPU cannot record work (" + offence.error
                        + "); it is launched piece by piece, which is slower");
        Runnable well = backend.record(arena, () -> backend.increment(new IncrementOp(before)));
        for (int i = 0; i < 3; i++) {
            well.run();
        }
        assertThat(before.toInts()).containsExactly(8);
    }

    /** Few rows are launched together; of many, two products run beside each other. */
    @ParameterizedTest
    @CsvSource({"8,REFUSED", "8,NOTICED_LATER", "2048,REFUSED", "2048,NOTICED_LATER"})
    void aCaptureThatIsLostInTheMiddleChangesNoBit(int rows, Offence offence) {
        int width = 16;
        List<float[]> results = new ArrayList<>();
        for (boolean lost : new boolean[] {false, true}) {
            Tensor x = matrix(rows, randoms(rows * width));
            Tensor w = matrix(width, randoms(width * width));
            Tensor y = matrix(rows, new float[rows * width]);
            Tensor dx = matrix(rows, new float[rows * width]);
            Tensor dw = matrix(width, new float[width * width]);
            Tensor sum = matrix(width, new float[width * width]);
            Pass pass = Pass.evaluation(1, rows);
            LinearOp linear = new LinearOp(x, w, null, true, y);
            LinearGradOp grad = new LinearGradOp(x, w, y, dx, dw, null);
            SumOp add = new SumOp(List.of(dw), true, sum);
            Runnable work = backend.record(arena, () -> {
                backend.linear(linear, pass);
                if (lost && backend.context().capturing()) {
                    offence.commit(backend.context(), null, null);
                }
                backend.linearGrad(grad, pass);
                backend.sum(add);
            });
            System.clearProperty(CudaBackend.STRICT);
            try {
                for (int i = 0; i < 4; i++) {
                    work.run();
                }
            } finally {
                System.setProperty(CudaBackend.STRICT, "true");
            }
            results.add(dx.toFloats());
            results.add(sum.toFloats());
        }
        assertThat(results.get(0)).isEqualTo(results.get(2)).isNotEqualTo(new float[rows * width]);
        assertThat(results.get(1)).isEqualTo(results.get(3)).isNotEqualTo(new float[width * width]);
    }

    private static float[] randoms(int n) {
        Random random = new Random(n);
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    /** Where work is recorded, one multiplies for the weights and the other for the input; else one does both. */
    @ParameterizedTest
    @CsvSource({
        "FP32,64,48,96",
        "FP32,2048,64,65",
        "TF32,64,48,96",
        "TF32,2048,64,64",
        "BF16,64,48,96",
        "BF16,2048,64,65"
    })
    void bothHandlesOfCublasGiveTheSameBits(Precision precision, int rows, int in, int out) {
        try (CudaBackend precise = newBackend(new BackendOptions(1, precision, true));
                Arena own = precise.newArena()) {
            DType type = precision.activations();
            Tensor x = own.allocate(type, Shape.of(rows, in));
            Tensor w = own.allocate(type, Shape.of(out, in));
            Tensor dy = own.allocate(type, Shape.of(rows, out));
            for (Tensor tensor : List.of(x, w, dy)) {
                tensor.write(randoms(Math.toIntExact(tensor.size())));
            }
            Tensor dx = own.allocate(type, Shape.of(rows, in));
            Tensor dw = own.allocate(DType.F32, Shape.of(out, in));
            LinearGradOp grad = new LinearGradOp(x, w, dy, dx, dw, null);
            Runnable work = precise.record(own, () -> precise.linearGrad(grad, Pass.evaluation(1, rows)));
            work.run();
            float[] once = dw.toFloats();
            float[] onceBelow = dx.toFloats();
            dw.write(new float[once.length]);
            dx.write(new float[onceBelow.length]);
            work.run();
            assertThat(dw.toFloats()).isEqualTo(once).isNotEqualTo(new float[once.length]);
            assertThat(dx.toFloats()).isEqualTo(onceBelow).isNotEqualTo(new float[onceBelow.length]);
        }
    }

    @Test
    void aStreamThatCannotBeUsedIsRefused() {
        CUdevice device = new CUdevice();
        assertThat(JCudaDriver.cuDeviceGet(device, 0)).isZero();
        CUcontext context = new CUcontext();
        assertThat(JCudaDriver.cuCtxCreate(context, 0, device)).isZero();
        for (CUstream stream :
                Arrays.asList(null, new CUstream(), JCudaDriver.CU_STREAM_LEGACY, JCudaDriver.CU_STREAM_PER_THREAD)) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> CudaContext.of(context, stream))
                    .withMessage("A default stream, the process's or a thread's, cannot be used; make a stream with"
                            + " cuStreamCreate and give that.");
        }
        assertThatIllegalArgumentException()
                .isThrownBy(() -> CudaContext.of(context, backend.context().stream()))
                .withMessage(
                        "The stream belongs to another context than the one that was given; give the two that belong"
                                + " together.");
        assertThat(JCudaDriver.cuCtxDestroy(context)).isZero();
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
            Tensor counter = own.allocate(DType.I32, Shape.of(1));
            embedded.increment(new IncrementOp(counter));
            assertThat(counter.toInts()).containsExactly(1);
        }
        assertThat(JCudaDriver.cuStreamSynchronize(stream)).isZero();
        assertThat(JCudaDriver.cuStreamDestroy(stream)).isZero();
        assertThat(JCudaDriver.cuCtxDestroy(context)).isZero();
    }

    @Test
    void memoryOfTheCallerIsWrapped() {
        CUdeviceptr memory = new CUdeviceptr();
        backend.context().enter();
        assertThat(JCudaDriver.cuMemAlloc(memory, 64)).isZero();
        Tensor all = backend.wrap(memory, DType.F32, Shape.of(16));
        all.write(new float[16]);
        Tensor rest = backend.wrap(memory.withByteOffset(32), DType.F32, Shape.of(2, 4));
        rest.write(1f, 2, 3, 4, 5, 6, 7, 8);
        assertThat(all.toFloats()).startsWith(0, 0, 0, 0, 0, 0, 0, 0, 1, 2).endsWith(7, 8);
        assertThat(DeviceStorage.address(CudaBackend.pointer(rest))).isEqualTo(DeviceStorage.address(memory) + 32);
        assertThat(all.overlaps(rest)).isTrue();
        assertThat(all.rows(0, 8).overlaps(rest)).isFalse();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.wrap(memory.withByteOffset(32), DType.F32, Shape.of(3, 4)))
                .withMessage("A tensor F32 (3, 4) takes 48 bytes, and 32 are allocated from the pointer on; allocate"
                        + " more, or give a smaller shape.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.wrap(memory.withByteOffset(4), DType.F32, Shape.of(1)))
                .withMessageStartingWith("The pointer's address is not a multiple of 16, as kernels need it;");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> backend.wrap(new CUdeviceptr(), DType.F32, Shape.of(1)))
                .withMessage("The pointer is not one to memory of this GPU's context; give one that cuMemAlloc made.");
        assertThat(JCudaDriver.cuMemFree(memory)).isZero();
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
