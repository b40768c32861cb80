package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;
import static io.github.drakegpt.backend.cpu.HeapStorage.zero;

import io.github.drakegpt.backend.cpu.JavaMatmul.Matrix;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** Linear layers: the definition of their bits, and what machines without native code compute. */
class JavaLinear {
    private final Products products;

    /** @param precision of the factors: FP32 or BF16 */
    JavaLinear(Precision precision) {
        products = precision == Precision.BF16 ? JavaMatmul::multiplyBf16 : JavaMatmul::multiply;
    }

    /** c (m, n) = a (m, k) b (k, n) + c. */
    private interface Products {
        void multiply(int m, int n, int k, Matrix a, Matrix b, Matrix c);
    }

    void linear(LinearOp op, Pass pass) {
        int rows = op.rows(pass);
        int in = op.in();
        int out = op.out();
        float[] ys = floats(op.y());
        int yo = start(op.y());
        Arrays.fill(ys, yo, yo + rows * out, 0f);
        for (int r = 0; r < rows && op.bias() != null; r++) {
            System.arraycopy(floats(op.bias()), start(op.bias()), ys, yo + r * out, out);
        }
        Matrix w = matrix(op.w(), in);
        products.multiply(rows, out, in, matrix(op.x(), in), w.transposed(), matrix(op.y(), out));
        if (op.relu()) {
            for (int i = yo; i < yo + rows * out; i++) {
                ys[i] = ys[i] <= 0 ? 0 : ys[i];
            }
        }
    }

    void linearGrad(LinearGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int in = op.in();
        int out = op.out();
        Matrix dy = matrix(op.dy(), out);
        zero(op.dw(), out * in);
        products.multiply(out, in, rows, dy.transposed(), matrix(op.x(), in), matrix(op.dw(), in));
        if (op.dbias() != null) {
            JavaMatmul.columnSums(floats(op.dy()), start(op.dy()), rows, out, floats(op.dbias()), start(op.dbias()));
        }
        if (op.dx() != null) {
            zero(op.dx(), rows * in);
            products.multiply(rows, in, out, dy, matrix(op.w(), in), matrix(op.dx(), in));
        }
    }

    void reluGrad(ReluGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] ys = floats(op.y());
        float[] dys = floats(op.dy());
        int yo = start(op.y());
        int o = start(op.dy());
        for (int i = 0; i < rows * c; i++) {
            dys[o + i] = ys[yo + i] <= 0 ? 0 : dys[o + i];
        }
        if (op.dbias() != null) {
            JavaMatmul.columnSums(dys, o, rows, c, floats(op.dbias()), start(op.dbias()));
        }
    }

    private static Matrix matrix(Tensor x, int columns) {
        return new Matrix(floats(x), start(x), columns, 1);
    }
}
