package io.github.drakegpt.checkpoint;

import java.io.IOException;
import java.nio.file.Path;

/** A file from elsewhere is sound, as far as it was read, and holds something that cannot be taken over. */
public final class ForeignFileException extends IOException {
    private static final long serialVersionUID = 1;

    /**
     * @param why continues the file's name
     * @param what what to do
     */
    ForeignFileException(Path file, String why, String what) {
        super(file + " " + CorruptFileException.shortened(why) + "; " + what + ".");
    }
}
