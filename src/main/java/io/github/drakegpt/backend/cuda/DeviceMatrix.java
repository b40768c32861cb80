package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import jcuda.driver.CUdeviceptr;

/**
 * A matrix (rows, columns) in device memory, for {@link Gemm}.
 *
 * @param transposed whether memory holds its transpose, (columns, rows), row-major
 */
record DeviceMatrix(CUdeviceptr data, DType dtype, int rows, int columns, boolean transposed) {
    DeviceMatrix(CUdeviceptr data, DType dtype, int rows, int columns) {
        this(data, dtype, rows, columns, false);
    }

    /** The first rows of a tensor. */
    static DeviceMatrix of(Tensor tensor, int rows) {
        return new DeviceMatrix(
                Arguments.pointer(tensor), tensor.dtype(), rows, tensor.shape().columns());
    }

    /** The transposed matrix, in the same memory. */
    DeviceMatrix transpose() {
        return new DeviceMatrix(data, dtype, columns, rows, !transposed);
    }

    /** Elements from one row in memory to the next. */
    int stride() {
        return transposed ? rows : columns;
    }

    /** Its shape, such as (2, 3). */
    Shape shape() {
        return Shape.of(rows, columns);
    }
}
