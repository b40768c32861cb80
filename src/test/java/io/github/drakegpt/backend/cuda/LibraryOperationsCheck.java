package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.LibraryOperations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Random;

/** What is timed beside our operations does the same as they do. */
final class LibraryOperationsCheck {
    private static final int[][] SIZES = {{1, 1}, {3, 33}, {64, 80}, {7, 1000}};

    private final CudaBackend backend;
    private final Arena arena;
    private final LibraryOperations library;
    private final Random random = new Random(42);

    private LibraryOperationsCheck(CudaBackend backend, Arena arena) {
        this.backend = backend;
        this.arena = arena;
        this.library = backend.libraryOperations(arena).orElseThrow();
    }

    /** Compares each operation with the backend's, alone and as recorded work. */
    static void run(CudaBackend backend) {
        try (Arena arena = backend.newArena()) {
            LibraryOperationsCheck check = new LibraryOperationsCheck(backend, arena);
            assertThat(check.library.library()).isEqualTo("cuDNN");
            for (int[] size : SIZES) {
                check.softmax(size[0], size[1]);
                check.relu(size[0], size[1]);
            }
        }
    }

    private void softmax(int rows, int c) {
        Pass pass = Pass.evaluation(1, rows);
        Tensor x = normal(rows, c);
        Tensor ours = normal(rows, c);
        Tensor theirs = normal(rows, c);
        backend.softmax(new SoftmaxOp(x, ours, false), pass);
        twice(() -> library.softmax(x, theirs, rows, c));
        assertClose(theirs, ours);

        Tensor dy = normal(rows, c);
        Tensor dx = normal(rows, c);
        Tensor theirDx = normal(rows, c);
        backend.softmaxGrad(new SoftmaxGradOp(ours, dy, dx, false), pass);
        twice(() -> library.softmaxGrad(ours, dy, theirDx, rows, c));
        assertClose(theirDx, dx);
    }

    private void relu(int rows, int c) {
        int n = rows * c;
        Tensor x = normal(rows, c);
        Tensor y = normal(rows, c);
        twice(() -> library.relu(x, y, n));
        float[] expected = x.toFloats();
        for (int i = 0; i < n; i++) {
            expected[i] = Math.max(expected[i], 0);
        }
        assertThat(y.toFloats()).isEqualTo(expected);

        Tensor dy = normal(rows, c);
        Tensor theirDy = arena.allocate(DType.F32, Shape.of(n));
        theirDy.write(dy.toFloats());
        backend.reluGrad(new ReluGradOp(y, dy, null), Pass.evaluation(1, rows));
        twice(() -> library.reluGrad(y, theirDy, n)); // in place, and the same when done again
        assertThat(theirDy.toFloats()).isEqualTo(dy.toFloats());
    }

    private void twice(Runnable work) {
        Runnable recorded = backend.record(arena, work);
        recorded.run();
        recorded.run();
    }

    private Tensor normal(int rows, int c) {
        float[] values = new float[rows * c];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        Tensor tensor = arena.allocate(DType.F32, Shape.of(rows, c));
        tensor.write(values);
        return tensor;
    }

    private static void assertClose(Tensor actual, Tensor expected) {
        float[] wanted = expected.toFloats();
        float[] got = actual.toFloats();
        for (int i = 0; i < wanted.length; i++) {
            assertThat(got[i]).isCloseTo(wanted[i], within(1e-5f));
        }
    }
}
