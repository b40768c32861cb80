package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;

/** cuBLAS at a precision. */
record CudaCandidate(CudaContext context, Gemm gemm, Kind kind) implements MatmulCandidate {
    /** Type of the inputs: sums are float32, except for int8, whose sums are int32. */
    enum Kind {
        FP32(DType.F32, Bound.FP32),
        BF16(DType.BF16, Bound.BF16),
        INT8(DType.I8, Bound.INT8);

        private final DType dtype;
        private final Bound bound;

        Kind(DType dtype, Bound bound) {
            this.dtype = dtype;
            this.bound = bound;
        }
    }

    @Override
    public String name() {
        return kind.name().toLowerCase(Locale.ROOT);
    }

    @Override
    public Optional<String> library() {
        return Optional.of("cuBLAS");
    }

    @Override
    public Bound bound() {
        return kind.bound;
    }

    @Override
    public long weightBytes(int out, int in) {
        return (long) kind.dtype.bytes() * out * in;
    }

    @Override
    public boolean supports(int rows, int out, int in) {
        return kind != Kind.INT8 || out % 4 == 0 && in % 4 == 0; // cuBLAS requires it
    }

    @Override
    public Prepared prepare(Arena arena, int out, int in, int weights) {
        List<DeviceMatrix> prepared = new ArrayList<>();
        for (int i = 0; i < weights; i++) {
            prepared.add(random(arena, out, in));
        }
        return (ofRows, rows) -> products(ofRows, prepared, rows);
    }

    private List<Runnable> products(Arena arena, List<DeviceMatrix> weights, int rows) {
        DeviceMatrix first = weights.get(0);
        DeviceMatrix x = random(arena, rows, first.columns());
        DType sums = kind == Kind.INT8 ? DType.I32 : DType.F32;
        DeviceMatrix y = DeviceMatrix.of(arena.allocate(sums, Shape.of(rows, first.rows())), rows);
        List<Runnable> products = new ArrayList<>();
        for (DeviceMatrix w : weights) {
            products.add(() -> context.exclusively(() -> gemm.multiply(x, w.transpose(), y)));
        }
        return products;
    }

    private DeviceMatrix random(Arena arena, int rows, int columns) {
        Tensor tensor = arena.allocate(kind.dtype, Shape.of(rows, columns));
        float[] values = MatmulCandidate.random(rows * columns);
        switch (kind) {
            case FP32, BF16 -> tensor.write(values);
            case INT8 -> {
                byte[] bytes = new byte[values.length];
                new Random(42).nextBytes(bytes);
                tensor.write(bytes);
            }
        }
        return DeviceMatrix.of(tensor, rows);
    }
}
