package io.github.drakegpt.cli;

import io.github.drakegpt.data.DownloadListener;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/**
 * Shows a download on stderr: a bar on a terminal, elsewhere a line for each tenth. Shows nothing if nothing is
 * downloaded.
 */
final class DownloadBar implements DownloadListener, AutoCloseable {
    private static final long MEGABYTE = 1_000_000;
    private static final long LINE_EVERY_UNKNOWN_TOTAL = 10 * MEGABYTE;

    private final boolean terminal = Terminal.isPresent();
    private ProgressBar bar;
    private long nextLine;

    @Override
    public void progress(long done, long total) {
        if (terminal) {
            draw(done, total);
        } else if (done >= nextLine || done == total) {
            String of = total < 0 ? "" : String.format(Locale.ROOT, " of %.1f", total / (double) MEGABYTE);
            System.err.printf(Locale.ROOT, "Downloaded %.1f%s MB%n", done / (double) MEGABYTE, of);
            nextLine = done + (total < 0 ? LINE_EVERY_UNKNOWN_TOTAL : total / 10);
        }
    }

    private void draw(long done, long total) {
        if (bar == null) {
            bar = new ProgressBarBuilder()
                    .setTaskName("Download")
                    .setInitialMax(total)
                    .setStyle(ProgressBarStyle.ASCII)
                    .setUnit(" MB", MEGABYTE)
                    .setConsumer(new BarLine())
                    .showSpeed()
                    .build();
        }
        bar.maxHint(total);
        bar.stepTo(done);
    }

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
        }
    }
}
