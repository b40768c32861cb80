package io.github.drakegpt.checkpoint;

import io.github.drakegpt.tensor.Shape;
import java.io.IOException;

/** A tensor of a file that may come from elsewhere: its shape, checked, and its elements, which are read when asked for. */
record FileTensor(Shape shape, Values values) {
    /** Reads the elements. */
    interface Values {
        /**
         * The elements in row-major order, rounded to float32.
         *
         * @throws CorruptFileException if the file does not have them
         */
        float[] read() throws IOException;
    }
}
