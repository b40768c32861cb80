package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.backend.cuda.SequenceRegion.Segment;
import io.github.drakegpt.tensor.OutOfMemoryException;
import java.util.Optional;
import jcuda.driver.CUresult;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Compiles segments to programs for {@code sequence.cu}, where that is expected to be faster. */
final class SequenceCompiler {
    private static final Logger log = LoggerFactory.getLogger(SequenceCompiler.class);
    private static final String OUT_OF_MEMORY = CUresult.stringFor(CUresult.CUDA_ERROR_OUT_OF_MEMORY);

    // Predictions for an H200, not measured; good enough to distinguish small models from others.
    private static final double MICROS_PER_LAUNCH = 2;
    private static final double MICROS_PER_OPERATION = 0.3;
    private static final double MULTIPLICATIONS_PER_MICRO = 80_000; // of one block
    private static final double BYTES_PER_MICRO = 2e6;

    private final CudaResources resources;
    /** Whether the driver has refused the kernels. */
    private boolean refused;

    SequenceCompiler(CudaResources resources) {
        this.resources = resources;
    }

    /** A program for a segment; empty where its operations are better launched one by one. */
    Optional<SequenceProgram> compile(Segment segment) {
        if (refused || !isFaster(segment)) {
            return Optional.empty();
        }
        try {
            resources.kernels().load(SequenceProgram.FILE);
        } catch (CudaException e) {
            if (e.lost() || e.error().equals(OUT_OF_MEMORY)) {
                throw e; // other kernels would not load either
            }
            refused = true;
            log.warn("Operations are launched one by one, which is slower: {}", e.getMessage());
            return Optional.empty();
        }
        try {
            return Optional.of(new SequenceProgram(resources, segment));
        } catch (OutOfMemoryException e) {
            log.warn("There is no memory to launch operations together; they are launched one by one, which is slower");
            return Optional.empty();
        }
    }

    private boolean isFaster(Segment segment) {
        double alone = 0;
        double together = 0;
        for (SequenceOp operation : segment.operations()) {
            alone += operation.kind().launches * MICROS_PER_LAUNCH;
            together += MICROS_PER_OPERATION + operation.cost().multiplications() / MULTIPLICATIONS_PER_MICRO;
        }
        int batch = segment.pass().batch();
        together *= Grid.blocks(batch, resources.context().multiprocessors());
        // partial sums are written and read again, including gaps between gradients
        together += 2 * MICROS_PER_LAUNCH
                + 2.0 * batch * SequenceProgram.gradients(segment).bytes() / BYTES_PER_MICRO;
        return together < alone;
    }
}
