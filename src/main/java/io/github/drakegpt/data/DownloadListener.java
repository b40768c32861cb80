package io.github.drakegpt.data;

/** Receives the progress of a download; the command line draws its progress bar from it. */
@FunctionalInterface
public interface DownloadListener {
    /**
     * Called after every piece. {@code done} goes back when a download starts again.
     *
     * @param done bytes on disk, those of an earlier attempt included
     * @param total bytes in all, -1 where the server does not say
     */
    void progress(long done, long total);
}
