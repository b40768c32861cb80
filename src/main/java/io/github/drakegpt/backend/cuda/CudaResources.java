package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Precision;

/** All that a backend holds on the GPU besides its arenas, closed together. */
final class CudaResources implements AutoCloseable {
    private final CudaContext context;
    private final Kernels kernels;
    private final Staging staging;
    private final Gemm gemm;
    private final SideStream sideStream;
    private final Scratch scratch;
    private final Scratch padding;

    /** @param context is closed with the rest, also where the rest cannot be had */
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
                    other) { // what is null is passed over
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

    /** For what an operation leaves to its next kernel. */
    Scratch scratch() {
        return scratch;
    }

    /** For padded matrices, while scratch is used for the sums of their columns. */
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
                kernels) { // if the context is broken, all that they hold goes with it
            if (!context.broken()) {
                context.synchronize();
            }
            scratch.free();
            padding.free();
        }
    }
}
