package io.github.drakegpt.model;

import java.util.concurrent.locks.ReentrantLock;

/** Calls of an object from any threads, one after the other, until it is closed. */
final class Turns {
    private final String name;
    private final ReentrantLock lock = new ReentrantLock();
    private boolean closed;

    /** @param name of the object, for messages */
    Turns(String name) {
        this.name = name;
    }

    /**
     * Waits for the calls before it, then runs one.
     *
     * @throws IllegalStateException if the object is closed, or this is within a call of it
     */
    void take(Runnable call) {
        lock();
        try {
            if (closed) {
                throw new IllegalStateException("The " + name + " is closed; create another one.");
            }
            call.run();
        } finally {
            lock.unlock();
        }
    }

    /**
     * Waits for the calls before it, then closes the object; once.
     *
     * @throws IllegalStateException if this is within a call of it
     */
    void end(Runnable close) {
        lock();
        try {
            if (!closed) {
                closed = true;
                close.run();
            }
        } finally {
            lock.unlock();
        }
    }

    private void lock() {
        if (lock.isHeldByCurrentThread()) {
            throw new IllegalStateException("The " + name + " was called by what it calls; do that after it returns.");
        }
        lock.lock();
    }
}
