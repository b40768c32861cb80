package io.github.drakegpt.data;

import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** The body of a response, whose reading ends with an error when too little of it comes for a while. */
final class SlowBody implements AutoCloseable {
    private final InputStream body;
    private final AtomicLong received = new AtomicLong(); // since the watch looked last
    private final ScheduledExecutorService watch = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "drakegpt-download");
        thread.setDaemon(true);
        return thread;
    });
    private volatile boolean tooSlow;

    /** The server sends too little. */
    static final class TooSlowException extends IOException {
        private static final long serialVersionUID = 1;
    }

    SlowBody(InputStream body, int minBytes, Duration within) {
        this.body = body;
        watch.scheduleAtFixedRate(
                () -> {
                    if (received.getAndSet(0) < minBytes) {
                        tooSlow = true;
                        abort();
                    }
                },
                within.toNanos(),
                within.toNanos(),
                TimeUnit.NANOSECONDS);
    }

    /** Lets a read that waits return. */
    private void abort() {
        try {
            body.close();
        } catch (IOException e) {
            throw new IllegalStateException("the body of a response always closes", e);
        }
    }

    /**
     * Reads what has come, like {@link InputStream#read(byte[])}.
     *
     * @throws TooSlowException if the server sends too little
     */
    int read(byte[] buffer) throws IOException {
        int count;
        try {
            count = body.read(buffer);
        } catch (IOException e) {
            throw tooSlow ? new TooSlowException() : e;
        }
        if (tooSlow) {
            throw new TooSlowException();
        }
        received.addAndGet(Math.max(0, count));
        return count;
    }

    /** Ends the watch. */
    @Override
    public void close() {
        watch.shutdownNow();
    }
}
