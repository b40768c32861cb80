package io.github.drakegpt.data;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Pointer files of Git LFS: what a checkout holds in place of a large file that was not fetched
 * (github.com/git-lfs/git-lfs, docs/spec.md).
 */
public final class GitLfs {
    private static final byte[] FIRST_LINE =
            "version https://git-lfs.github.com/spec/v1\n".getBytes(StandardCharsets.US_ASCII);

    private GitLfs() {}

    /** Whether a file that begins with these bytes is a pointer. */
    public static boolean isPointer(byte[] start) {
        return start.length >= FIRST_LINE.length && Arrays.equals(FIRST_LINE, Arrays.copyOf(start, FIRST_LINE.length));
    }

    /** What is wrong with such a file, and what to do. */
    public static String message(String file) {
        return file + " is a pointer of Git LFS instead of the file itself; get that with git lfs pull.";
    }
}
