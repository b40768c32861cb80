package io.github.drakegpt.data;

import java.io.IOException;
import java.nio.file.Path;

/** Somebody else has locked a folder. */
public final class FolderLockedException extends IOException {
    private static final long serialVersionUID = 1;

    /**
     * Makes one for a holder that surely lives.
     *
     * @param holder in words
     */
    FolderLockedException(Path folder, String holder) {
        super(message(folder, holder, ""));
    }

    /**
     * Makes one for a holder that may have been killed, which is not known yet.
     *
     * @param holder in words
     * @param file what to remove if it is gone
     * @param seconds how long it may have been gone before that is known
     */
    FolderLockedException(Path folder, String holder, Path file, long seconds) {
        super(message(
                folder, holder, ", or, if it is surely gone, remove " + file + " or wait " + seconds + " seconds"));
    }

    private static String message(Path folder, String holder, String more) {
        return folder + " is being used by " + holder + "; wait until that is done, stop it, or choose another folder"
                + more + ".";
    }
}
