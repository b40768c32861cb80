package io.github.drakegpt.data;

import java.io.IOException;
import java.nio.file.Path;

/** Somebody else writes into a folder. */
public final class FolderLockedException extends IOException {
    private static final long serialVersionUID = 1;

    FolderLockedException(Path folder) {
        super(folder + " is being written by another process; wait for that, or choose another folder.");
    }
}
