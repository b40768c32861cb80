package io.github.drakegpt.backend.cuda;

import java.util.function.Consumer;

/**
 * Repeated work. The first run launches it directly, which loads its kernels and grows scratch memory to its size. The
 * second run captures it as a graph, which that and all later runs replay in one call. Work that cannot be captured is
 * launched directly each time; a failed capture has run nothing of it.
 */
final class Recording implements Runnable {
    private final CudaContext context;
    private final Runnable work;
    private final Consumer<CudaException> notRecorded;
    private boolean ranOnce;
    private boolean recordable = true;
    private CudaContext.Graph graph;

    /** @param notRecorded receives the reason why the work is not recorded, and may throw it */
    Recording(CudaContext context, Runnable work, Consumer<CudaException> notRecorded) {
        this.context = context;
        this.work = work;
        this.notRecorded = notRecorded;
    }

    @Override
    public void run() {
        context.exclusively(this::runAlone);
    }

    private void runAlone() {
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

    /** Frees the graph. */
    void close() {
        if (graph != null) {
            context.destroy(graph);
            graph = null;
        }
    }
}
