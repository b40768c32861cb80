package io.github.drakegpt.checkpoint;

import java.io.IOException;
import java.nio.file.Path;

/** A file that is truncated, tampered with, or in another format. */
public final class CorruptFileException extends IOException {
    private static final long serialVersionUID = 1;
    private static final int MOST_SHOWN = 200; // names and values in damaged files have any length

    CorruptFileException(Path file, String what, Throwable cause) {
        super(file + " is damaged: " + shortened(what) + "; take the file from a backup, or make it again.", cause);
    }

    static String shortened(String what) {
        return what.length() <= MOST_SHOWN ? what : what.substring(0, MOST_SHOWN) + "...";
    }
}
