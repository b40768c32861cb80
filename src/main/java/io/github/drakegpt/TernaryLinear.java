package io.github.drakegpt;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * A linear layer y = x w^T + bias whose weight is a {@link TernaryMatrix} in a device's memory. Each row of x is rounded to
 * 8 bits, with a scale of its own (max(|x|) / 127); sums of products are exact, so that the same row gives the same bits
 * on every device.
 *
 * <p>Any number of threads may use it. Closing waits for products under way; later ones are an
 * {@link IllegalStateException}.
 */
public final class TernaryLinear implements AutoCloseable {
    private final Device device;
    private final TernaryMatrix matrix;
    private final Arena arena;
    private final PackedWeights weights;
    private final ReadWriteLock life = new ReentrantReadWriteLock(); // its writer closes
    private final Deque<Workspace> idle = new ArrayDeque<>(); // of calls that have ended
    private boolean closed;

    TernaryLinear(Device device, TernaryMatrix matrix) {
        this.device = device;
        this.matrix = matrix;
        this.arena = device.newArena();
        try {
            weights = PackedWeights.allocate(arena, matrix.packed().quantization(), matrix.out(), matrix.in());
            weights.write(matrix.packed());
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /** Memory for the rounded rows of one call. On a GPU the next call may have it at once, since work is in order. */
    private static final class Workspace implements AutoCloseable {
        private final Arena arena;
        private final Int8Rows rows;

        Workspace(Backend backend, PackedWeights weights, int capacity) {
            arena = backend.newArena();
            try {
                rows = Int8Rows.allocate(arena, weights.quantization(), capacity, weights.in());
            } catch (RuntimeException e) {
                arena.close();
                throw e;
            }
        }

        int capacity() {
            return rows.values().shape().dim(0);
        }

        Int8Rows first(int count) {
            return new Int8Rows(
                    rows.values().rows(0, count),
                    rows.scales().rows(0, count),
                    rows.sums().rows(0, count));
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    /**
     * The weight.
     *
     * @return the matrix that was loaded
     */
    public TernaryMatrix matrix() {
        return matrix;
    }

    /**
     * Multiplies rows of an array: copies them to the device and the products back.
     *
     * @param x (rows, in), row-major: one or more rows
     * @return a new array (rows, out), row-major
     * @throws IllegalArgumentException if x is no whole number of rows
     */
    public float[] multiply(float[] x) {
        if (x.length == 0 || x.length % matrix.in() != 0) {
            throw new IllegalArgumentException(
                    x.length + " values were given for rows of " + matrix.in() + "; give one or more whole rows.");
        }
        int rows = x.length / matrix.in();
        try (Arena operands = device.newArena()) {
            Tensor from = operands.allocate(DType.F32, rows, matrix.in());
            Tensor to = operands.allocate(DType.F32, rows, matrix.out());
            from.write(x);
            multiply(from, null, to);
            return to.toFloats();
        }
    }

    /**
     * Multiplies rows of a tensor.
     *
     * @param x (rows, in), F32
     * @param bias (out), F32, or null for none
     * @param y (rows, out), F32; overwritten
     * @throws IllegalArgumentException if shapes, types or devices do not go together
     */
    public void multiply(Tensor x, Tensor bias, Tensor y) {
        if (Device.given(x, "x").shape().columns() != matrix.in()) {
            throw new IllegalArgumentException(
                    "x is " + x.shape() + ", and the matrix has " + matrix.in() + " columns; give rows of as many.");
        }
        int rows = Math.toIntExact(x.size() / matrix.in());
        life.readLock().lock();
        try {
            if (closed) {
                throw new IllegalStateException("This layer is closed; load its matrix again.");
            }
            Workspace workspace = take(rows);
            try {
                Int8Rows rounded = workspace.first(rows);
                QuantizeInt8Op quantize = new QuantizeInt8Op(x, rounded);
                PackedLinearOp product = new PackedLinearOp(rounded, weights, bias, false, Device.given(y, "y"));
                device.rowwise(quantize, x);
                device.rowwise(product, x);
            } finally {
                give(workspace);
            }
        } finally {
            life.readLock().unlock();
        }
    }

    private Workspace take(int rows) {
        Workspace workspace;
        synchronized (idle) {
            workspace = idle.poll();
        }
        if (workspace != null && workspace.capacity() >= rows) {
            return workspace;
        }
        if (workspace != null) {
            workspace.close();
        }
        return new Workspace(device.backend(), weights, rows);
    }

    private void give(Workspace workspace) {
        synchronized (idle) {
            idle.push(workspace);
        }
    }

    /** Frees its memory. A second close does nothing. */
    @Override
    public void close() {
        life.writeLock().lock();
        try {
            if (!closed) {
                closed = true;
                idle.forEach(Workspace::close);
                arena.close();
            }
        } finally {
            life.writeLock().unlock();
        }
    }
}
