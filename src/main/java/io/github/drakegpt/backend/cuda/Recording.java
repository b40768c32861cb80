package io.github.drakegpt.backend.cuda;

/**
 * Work that is repeated. The first run launches it as it is: that loads its kernels and lets scratch memory grow to its
 * size. The second captures it as a graph, which it and all later runs replay in one call.
 */
final class Recording implements Runnable {
    private final CudaContext context;
    private final Runnable work;
    private boolean ranOnce;
    private CudaContext.Graph graph;

    Recording(CudaContext context, Runnable work) {
        this.context = context;
        this.work = work;
    }

    @Override
    public void run() {
        if (!ranOnce || context.blocking() || context.capturing()) {
            work.run();
            ranOnce = true;
            return;
        }
        if (graph == null) {
            graph = context.capture(work);
        }
        context.launch(graph);
    }

    /** Gives the graph back. */
    void close() {
        if (graph != null) {
            context.destroy(graph);
            graph = null;
        }
    }
}
