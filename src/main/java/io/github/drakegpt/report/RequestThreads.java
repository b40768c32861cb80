package io.github.drakegpt.report;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * Threads that each read a request and answer it. A client that sends its request too slowly, or reads the answer too
 * slowly, is disconnected; sooner if there are many at a time, the oldest first.
 */
final class RequestThreads implements Executor, AutoCloseable {
    private final int max;
    private final Duration limit;
    private final ThreadPoolExecutor threads;
    private final ScheduledThreadPoolExecutor clock;
    private final Deque<Request> requests = new ArrayDeque<>(); // oldest first; also the lock of their fields

    /**
     * Threads for requests.
     *
     * @param max requests at a time, without those that {@linkplain #takeTime take their time}
     * @param limit from a request's first byte to the end of its answer
     */
    RequestThreads(int max, Duration limit, ThreadFactory factory) {
        this.max = max;
        this.limit = limit;
        threads = new ThreadPoolExecutor(0, Integer.MAX_VALUE, 10, TimeUnit.SECONDS, new SynchronousQueue<>(), factory);
        clock = new ScheduledThreadPoolExecutor(1, factory);
        clock.setRemoveOnCancelPolicy(true);
    }

    /** Serves a request of which the first bytes have come. */
    @Override
    public void execute(Runnable task) {
        Request request = new Request(task);
        synchronized (requests) {
            if (requests.size() == max) {
                requests.getFirst().disconnect();
            }
            requests.add(request);
            request.end = clock.schedule(request::disconnect, limit.toNanos(), TimeUnit.NANOSECONDS);
        }
        threads.execute(request);
    }

    /** Lifts the limits from the request that the current thread serves. */
    void takeTime() {
        synchronized (requests) {
            requests.stream()
                    .filter(request -> request.thread == Thread.currentThread())
                    .findFirst()
                    .ifPresent(Request::forget);
        }
    }

    /** Disconnects all clients. */
    @Override
    public void close() {
        clock.shutdownNow();
        threads.shutdownNow();
    }

    private final class Request implements Runnable {
        private final Runnable task;
        private Thread thread; // that serves it now
        private Future<?> end;
        private boolean disconnected;

        Request(Runnable task) {
            this.task = task;
        }

        @Override
        public void run() {
            synchronized (requests) {
                thread = Thread.currentThread();
                interruptIfDisconnected();
            }
            try {
                task.run();
            } finally {
                synchronized (requests) {
                    thread = null;
                    forget();
                    Thread.interrupted(); // it was meant for this request, and the thread will serve others
                }
            }
        }

        void disconnect() {
            synchronized (requests) {
                disconnected = true;
                forget();
                interruptIfDisconnected();
            }
        }

        /** An interrupt closes the channel that a thread reads from or writes to. */
        private void interruptIfDisconnected() {
            if (disconnected && thread != null) {
                thread.interrupt();
            }
        }

        private void forget() {
            requests.remove(this);
            end.cancel(false);
        }
    }
}
