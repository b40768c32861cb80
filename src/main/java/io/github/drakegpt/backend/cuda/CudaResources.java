package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.Precision;

/** All resources of a backend on the GPU except its arenas, closed together. */
final class CudaResources implements AutoCloseable {
    private final CudaContext context;
    private final Kernels kernels;
    private final Staging staging;
    private final Gemm gemm;
    private final SideStream sideStream;
    private final Scratch scratch;
    private final Scratch padding;

    /** @param context closed with the others, even if creating them fails */
    CudaResources(CudaContext context, Kernels kernels, Precision precision) {
        this.context = context;
        this.kernels = kernels;
        this.scratch = new Scratch(context);
        this.padding = new Scratch(context);
        Staging made = null;
        Gemm products = null;
        try {
            made = new Staging(context);
            products = new Gemm(context, context.stream(), precision == Precision.TF32);
            this.sideStream = new SideStream(context, precision);
        } catch (RuntimeException e) {
            Staging one = made;
            Gemm other = products;
            try (context;
                    one;
                    other) { // nulls are skipped
                throw e;
            }
        }
        this.staging = made;
        this.gemm = products;
    }

    CudaContext context() {
        return context;
    }

    Kernels kernels() {
        return kernels;
    }

    Staging staging() {
        return staging;
    }

    Gemm gemm() {
        return gemm;
    }

    SideStream sideStream() {
        return sideStream;
    }

    /** Memory between the kernels of one operation. */
    Scratch scratch() {
        return scratch;
    }

    /**
     * Memory for padded matrices, used at the same time as {@link #scratch}, which then holds the sums of their
     * columns.
     */
    Scratch padding() {
        return padding;
    }

    @Override
    public void close() {
        context.requireNotCapturing();
        try (context;
                staging;
                gemm;
                sideStream;
                kernels) { // a broken context frees all their memory itself
            if (!context.broken()) {
                context.synchronize();
            }
            scratch.free();
            padding.free();
        }
    }
}
