package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.orNull;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.tensor.DType;
import java.util.function.Consumer;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Linear layers: cuBLAS for the products, kernels for bias and ReLU. */
final class LinearKernels {
    /**
     * Minimum rows of a product whose columns are padded: smaller products take less time than the launches that pad
     * them.
     */
    private static final int LEAST_PADDED = 1024;

    private final Launcher launcher;
    private final CudaContext context;
    private final Gemm gemm;
    private final SideStream sideStream;
    private final Scratch padding; // apart from the launcher's scratch, which column sums of a padded matrix may use
    private final boolean fuse;

    /** @param fuse whether the two products of a recorded gradient run concurrently */
    LinearKernels(Launcher launcher, CudaResources resources, boolean fuse) {
        this.launcher = launcher;
        this.context = resources.context();
        this.gemm = resources.gemm();
        this.sideStream = resources.sideStream();
        this.padding = resources.padding();
        this.fuse = fuse;
    }

    void linear(LinearOp op, Pass pass) {
        int rows = op.rows(pass);
        int out = op.out();
        DeviceMatrix x = DeviceMatrix.of(op.x(), rows);
        DeviceMatrix w = DeviceMatrix.of(op.w(), out);
        DeviceMatrix y = DeviceMatrix.of(op.y(), rows);
        int columns = paddedColumns(x, out);
        if (columns > out && y.dtype() == DType.F32 && !op.relu()) {
            paddedLinear(x, w, orNull(op.bias()), y, columns);
            return;
        }
        gemm.multiply(x, w.transpose(), y);
        if (op.bias() != null || op.relu()) {
            FloatType type = FloatType.of(op.y());
            Grid grid = Grid.of((long) rows * out, type.pack());
            int relu = op.relu() ? 1 : 0;
            launcher.launch("relu", "bias_relu" + type.suffix(), grid, y.data(), orNull(op.bias()), relu, rows, out);
        }
    }

    /**
     * {@code out} padded for cuBLAS, whose fast bfloat16 kernels require rows of a multiple of 16 bytes, unlike those
     * of logits.
     */
    private static int paddedColumns(DeviceMatrix x, int out) {
        int pack = FloatType.BF16.pack();
        boolean pays = x.dtype() == DType.BF16 && x.rows() >= LEAST_PADDED && x.columns() % pack == 0;
        return pays ? Grid.blocks(out, pack) * pack : out;
    }

    /**
     * A linear layer from BF16 to F32 with rows of zeros appended to w; the additional columns of the product are
     * dropped.
     */
    private void paddedLinear(DeviceMatrix x, DeviceMatrix w, Pointer bias, DeviceMatrix y, int columns) {
        long weightBytes = (long) columns * w.columns() * DType.BF16.bytes();
        CUdeviceptr memory = padding.of(weightBytes + (long) y.rows() * columns * DType.F32.bytes());
        DeviceMatrix paddedW = padRows(w, memory, columns);
        DeviceMatrix products = new DeviceMatrix(memory.withByteOffset(weightBytes), DType.F32, y.rows(), columns);
        gemm.multiply(x, paddedW.transpose(), products);
        Grid grid = Grid.of((long) y.rows() * y.columns(), 1);
        launcher.launch(
                "pad", "add_bias_unpad_f32", grid, products.data(), bias, y.data(), y.rows(), y.columns(), columns);
    }

    /** The matrix with rows of zeros appended. */
    private DeviceMatrix padRows(DeviceMatrix from, CUdeviceptr to, int rows) {
        pad(from.data(), to, 1, from.rows() * from.columns(), rows * from.columns());
        return new DeviceMatrix(to, from.dtype(), rows, from.columns());
    }

    /** The matrix with zeros appended to each row. */
    private DeviceMatrix padColumns(DeviceMatrix from, CUdeviceptr to, int columns) {
        pad(from.data(), to, from.rows(), from.columns(), columns);
        return new DeviceMatrix(to, from.dtype(), from.rows(), columns);
    }

    /** to (rows, stride) = from (rows, c) with zeros appended to each row. */
    private void pad(CUdeviceptr from, CUdeviceptr to, int rows, int c, int stride) {
        Grid grid = Grid.of((long) rows * stride, FloatType.BF16.pack());
        launcher.launch("pad", "pad_bf16", grid, from, to, rows, c, stride);
    }

    void linearGrad(LinearGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int out = op.out();
        DeviceMatrix x = DeviceMatrix.of(op.x(), rows);
        GradMatrices matrices = gradMatrices(op, rows);
        int columns = matrices.dy.columns();
        Consumer<Gemm> weightGrad = products -> {
            products.multiply(matrices.dy.transpose(), x, matrices.dw);
            if (columns > out) {
                context.copy(pointer(op.dw()), matrices.dw.data(), op.dw().size() * DType.F32.bytes());
            }
            if (op.dbias() != null) {
                FloatType type = FloatType.of(op.dy());
                launcher.columnSums(type, matrices.dy.data(), pointer(op.dbias()), rows, out, columns);
            }
        };
        if (op.dx() == null) {
            weightGrad.accept(gemm);
            return;
        }
        DeviceMatrix dx = DeviceMatrix.of(op.dx(), rows);
        Runnable inputGrad = () -> gemm.multiply(matrices.dy, matrices.w, dx);
        if (fuse && context.capturing()) {
            sideStream.record(weightGrad, inputGrad);
        } else {
            weightGrad.accept(gemm);
            inputGrad.run();
        }
    }

    /**
     * The matrices of the gradients of a linear layer: dw (columns, in) = dy^T x, dx = dy w, with dy (rows, columns) and
     * w (columns, in). Columns beyond the layer's are zero.
     */
    private record GradMatrices(DeviceMatrix dy, DeviceMatrix w, DeviceMatrix dw) {}

    private GradMatrices gradMatrices(LinearGradOp op, int rows) {
        int out = op.out();
        int in = op.in();
        DeviceMatrix dy = DeviceMatrix.of(op.dy(), rows);
        DeviceMatrix w = DeviceMatrix.of(op.w(), out);
        int columns = paddedColumns(DeviceMatrix.of(op.x(), rows), out);
        if (columns == out) {
            return new GradMatrices(dy, w, DeviceMatrix.of(op.dw(), out));
        }
        long rowBytes = (long) rows * columns * DType.BF16.bytes();
        long weightBytes = (long) columns * in * DType.BF16.bytes();
        CUdeviceptr memory = padding.of(rowBytes + weightBytes + (long) columns * in * DType.F32.bytes());
        DeviceMatrix paddedDy = padColumns(dy, memory, columns);
        DeviceMatrix paddedW = op.dx() == null ? null : padRows(w, memory.withByteOffset(rowBytes), columns);
        CUdeviceptr dw = memory.withByteOffset(rowBytes + weightBytes);
        return new GradMatrices(paddedDy, paddedW, new DeviceMatrix(dw, DType.F32, columns, in));
    }

    void reluGrad(ReluGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        FloatType type = FloatType.of(op.y());
        String kernel = "relu_grad" + type.suffix();
        CUdeviceptr y = pointer(op.y());
        CUdeviceptr dy = pointer(op.dy());
        launcher.addRows(
                type,
                orNull(op.dbias()),
                rows,
                c,
                (grid, first, each) -> launcher.launch("relu", kernel, grid, y, dy, first, rows, c, each));
    }
}
