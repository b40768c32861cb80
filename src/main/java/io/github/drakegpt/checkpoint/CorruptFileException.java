package io.github.drakegpt.checkpoint;

import java.io.IOException;
import java.nio.file.Path;

/** A file that is truncated, tampered with, or in another format. */
public final class CorruptFileException extends IOException {
    private static final long serialVersionUID = 1;

    CorruptFileException(Path file, String what, Throwable cause) {
        super(file + " is damaged: " + what + "; take the file from a backup, or train the run again.", cause);
    }
}
