package io.github.drakegpt.backend.cuda;

import java.util.List;

/** Is told of launches of kernels. */
@FunctionalInterface
public interface LaunchObserver {
    /**
     * A kernel is about to be launched; sizes along z are 1.
     *
     * @param file of kernels/, without its extension
     * @param sharedBytes dynamic shared memory of a block
     * @param types of the parameters in PTX, such as u64
     * @param values of the parameters; of a pointer its address
     */
    void launching(
            String file,
            String entry,
            int gridX,
            int gridY,
            int blockX,
            int blockY,
            int sharedBytes,
            List<String> types,
            List<Number> values);
}
