package io.github.drakegpt.backend.cuda;

import java.util.function.Consumer;

/**
 * Work that is repeated. The first run launches it as it is: that loads its kernels and lets scratch memory grow to its
 * size. The second captures it as a graph, which it and all later runs replay in one call. What cannot be captured is
 * launched as it is each time: nothing of it was done when that was noticed.
 */
final class Recording implements Runnable {
    private final CudaContext context;
    private final Runnable work;
    private final Consumer<CudaException> notRecorded;
    private boolean ranOnce;
    private boolean recordable = true;
    private CudaContext.Graph graph;

    /** @param notRecorded is told why the work is not recorded, and may throw that */
    Recording(CudaContext context, Runnable work, Consumer<CudaException> notRecorded) {
        this.context = context;
        this.work = work;
        this.notRecorded = notRecorded;
    }

    @Override
    public void run() {
        if (ranOnce && recordable && graph == null && !context.blocking() && !context.capturing()) {
            record();
        }
        if (graph == null || context.capturing()) {
            work.run();
            ranOnce = true;
        } else {
            context.launch(graph);
        }
    }

    private void record() {
        try {
            graph = context.capture(work);
        } catch (CudaException e) {
            if (e.lost()) {
                throw e;
            }
            notRecorded.accept(e);
            recordable = false;
        }
    }

    /** Gives the graph back. */
    void close() {
        if (graph != null) {
            context.destroy(graph);
            graph = null;
        }
    }
}
