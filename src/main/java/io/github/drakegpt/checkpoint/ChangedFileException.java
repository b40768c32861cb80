package io.github.drakegpt.checkpoint;

import java.io.IOException;

/** A file is not the one that was saved. */
public final class ChangedFileException extends IOException {
    private static final long serialVersionUID = 1;

    private final String change;

    ChangedFileException(String change) {
        super(change + "; take it from a backup.");
        this.change = change;
    }

    /** What has changed, without what to do. */
    public String change() {
        return change;
    }
}
