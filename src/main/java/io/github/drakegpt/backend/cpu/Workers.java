package io.github.drakegpt.backend.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;

/**
 * A few threads that run the tasks of one caller concurrently. A training step of a small model takes half a
 * millisecond and starts tasks several times, so a waiting thread spins for a moment before it sleeps, and starting
 * tasks allocates nothing: an executor service does neither.
 */
final class Workers implements AutoCloseable {
    /** Time that a waiting thread spins. */
    private static final long SPIN_NANOS = 20_000;
    /**
     * Time that it then polls, yielding to other threads in between. Waking a sleeping thread takes some 50
     * microseconds, on a virtual machine now and then milliseconds, which is more than a whole step.
     */
    private static final long YIELD_NANOS = 500_000;

    private final Thread[] threads;
    private final boolean spin;
    private final AtomicInteger busy = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private IntConsumer task;
    private int tasks;
    private boolean running; // tasks begin after it is set and end before it is cleared
    private volatile Thread caller;
    private volatile int round;
    private volatile boolean closed;

    /** @param count threads that run concurrently, including the caller's */
    Workers(int count) {
        spin = count <= Runtime.getRuntime().availableProcessors();
        threads = new Thread[count - 1];
        for (int i = 0; i < threads.length; i++) {
            int worker = i + 1;
            threads[i] = new Thread(() -> work(worker), "drakegpt-cpu-" + (i + 1));
            threads[i].setDaemon(true);
            threads[i].start();
        }
    }

    int count() {
        return threads.length + 1;
    }

    /**
     * Runs {@code task} for 0 to {@code tasks} - 1 and returns when all are done; throws the failure of one. Called
     * within a task, it runs all on that thread, since the others are busy.
     */
    void run(int tasks, IntConsumer task) {
        if (tasks <= 1 || threads.length == 0 || running) {
            for (int i = 0; i < tasks; i++) {
                task.accept(i);
            }
            return;
        }
        this.task = task;
        this.tasks = tasks;
        running = true;
        caller = Thread.currentThread();
        busy.set(threads.length);
        round++; // publishes all of the above
        for (Thread thread : threads) {
            LockSupport.unpark(thread);
        }
        runTasks(0);
        long start = System.nanoTime();
        while (busy.get() > 0) {
            pause(start);
        }
        running = false;
        Throwable thrown = failure.getAndSet(null);
        if (thrown instanceof Error error) {
            throw error;
        }
        if (thrown != null) {
            throw (RuntimeException) thrown;
        }
    }

    private void work(int worker) {
        int done = 0;
        while (true) {
            long start = System.nanoTime();
            while (round == done) {
                if (closed) {
                    return;
                }
                pause(start);
            }
            done++;
            runTasks(worker);
            if (busy.decrementAndGet() == 0) {
                LockSupport.unpark(caller);
            }
        }
    }

    /** Task numbers always go to the same threads, whose cores' caches still hold their data from the last time. */
    private void runTasks(int worker) {
        for (int i = worker; i < tasks; i += count()) {
            try {
                task.accept(i);
            } catch (RuntimeException | Error e) {
                failure.compareAndSet(null, e);
            }
        }
    }

    private void pause(long start) {
        long waited = System.nanoTime() - start;
        if (spin && waited < SPIN_NANOS) {
            Thread.onSpinWait();
        } else if (spin && waited < YIELD_NANOS) {
            Thread.yield();
        } else {
            LockSupport.park(this);
        }
    }

    @Override
    public void close() {
        closed = true;
        for (Thread thread : threads) {
            LockSupport.unpark(thread);
        }
    }
}
