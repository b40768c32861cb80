package io.github.drakegpt.backend.cuda;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Work that is repeated. The first run launches it as it is: that loads its kernels and lets scratch memory grow to its
 * size. The second captures it as a graph, which it and all later runs replay in one call.
 */
final class Recording implements Runnable {
    private static final Logger log = LoggerFactory.getLogger(Recording.class);

    private final CudaContext context;
    private final Runnable work;
    private boolean ranOnce;
    private boolean tooLarge;
    private CudaContext.Graph graph;

    Recording(CudaContext context, Runnable work) {
        this.context = context;
        this.work = work;
    }

    @Override
    public void run() {
        if (!ranOnce || tooLarge || context.blocking() || context.capturing()) {
            work.run();
            ranOnce = true;
            return;
        }
        if (graph == null) {
            try {
                graph = context.capture(work);
            } catch (CudaException e) {
                if (!e.error().equals("CUDA_ERROR_OUT_OF_MEMORY")) {
                    throw e;
                }
                log.warn(
                        "There is no memory to record work on the GPU; it is launched piece by piece, which is slower");
                tooLarge = true;
                work.run();
                return;
            }
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
