package io.github.drakegpt.backend.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.IntConsumer;

/**
 * A few threads that run the tasks of one caller concurrently; another caller that finds them taken runs its tasks
 * itself. A training step of a small model takes half a millisecond and starts tasks several times, so a waiting thread
 * spins for a moment before it sleeps, and starting tasks allocates nothing: an executor service does neither.
 *
 * <p>Any thread may call any method at any time. What must not outlive the threads is done between {@link #enter} and
 * {@link #leave}, for which {@link #close} waits.
 */
final class Workers implements AutoCloseable {
    /** Time that a waiting thread spins. */
    private static final long SPIN_NANOS = 20_000;
    /**
     * Time that it then polls, yielding to other threads in between. Waking a sleeping thread takes some 50
     * microseconds, on a virtual machine now and then milliseconds, which is more than a whole step.
     */
    private static final long YIELD_NANOS = 500_000;

    private final Worker[] threads;
    private final ReentrantReadWriteLock calls = new ReentrantReadWriteLock(); // read by each, written to close
    private final ReentrantLock taken = new ReentrantLock(); // by the caller whose tasks the threads run
    private final boolean spin;
    private final AtomicInteger busy = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private IntConsumer task;
    private int tasks;
    private volatile Thread caller;
    private volatile int round;
    private volatile boolean closed;

    /** @param count threads that run concurrently, including the caller's */
    Workers(int count) {
        spin = count <= Runtime.getRuntime().availableProcessors();
        threads = new Worker[count - 1];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = new Worker(i + 1);
            threads[i].start();
        }
    }

    private final class Worker extends Thread {
        private final int number; // the caller is 0

        Worker(int number) {
            super("drakegpt-cpu-" + number);
            this.number = number;
            setDaemon(true);
        }

        @Override
        public void run() {
            work(number);
        }

        boolean isOf(Workers pool) {
            return pool == Workers.this;
        }
    }

    /** Whether the calling thread is one of these, which do only what a caller waits for. */
    private boolean isWorker() {
        return Thread.currentThread() instanceof Worker worker && worker.isOf(this);
    }

    /**
     * Begins a call; {@link #leave} ends it.
     *
     * @throws IllegalStateException if these are closed
     */
    void enter() {
        if (isWorker()) {
            return;
        }
        calls.readLock().lock();
        if (closed) {
            calls.readLock().unlock();
            requireOpen();
        }
    }

    /** Ends a call. */
    void leave() {
        if (!isWorker()) {
            calls.readLock().unlock();
        }
    }

    /** @throws IllegalStateException if these are closed */
    void requireOpen() {
        if (closed) {
            throw new IllegalStateException("The backend is closed; create another one.");
        }
    }

    int count() {
        return threads.length + 1;
    }

    /**
     * Runs {@code task} for 0 to {@code tasks} - 1 and returns when all are done; throws the failure of one. Called
     * within a task, or while the threads run another caller's tasks, it runs all on the calling thread.
     *
     * @throws IllegalStateException if these are closed
     */
    void run(int tasks, IntConsumer task) {
        enter();
        try {
            boolean alone = tasks <= 1 || threads.length == 0 || isWorker() || taken.isHeldByCurrentThread();
            if (alone || !taken.tryLock()) {
                for (int i = 0; i < tasks; i++) {
                    task.accept(i);
                }
                return;
            }
            try {
                runTogether(tasks, task);
            } finally {
                taken.unlock();
            }
        } finally {
            leave();
        }
    }

    private void runTogether(int tasks, IntConsumer task) {
        this.task = task;
        this.tasks = tasks;
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

    /**
     * Waits for calls under way, then ends the threads.
     *
     * @throws IllegalStateException if called within a task, which it would wait for
     */
    @Override
    public void close() {
        if (isWorker() || calls.getReadHoldCount() > 0) {
            throw new IllegalStateException("A backend cannot be closed by its own work; close it after that.");
        }
        calls.writeLock().lock();
        closed = true;
        calls.writeLock().unlock();
        boolean interrupted = false;
        for (Worker thread : threads) {
            LockSupport.unpark(thread);
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
