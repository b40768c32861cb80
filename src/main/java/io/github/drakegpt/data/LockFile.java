package io.github.drakegpt.data;

import io.github.drakegpt.backend.Host;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import java.nio.file.OpenOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The file that locks a folder. Of all who try to make it, on all machines, one succeeds, and holds the folder. The file says
 * who that is, and is gone when the holder is done. If the holder was killed it stays, and the next who comes replaces it, as
 * soon as it is known that the holder is gone:
 *
 * <ul>
 *   <li>The holder has the system's lock of the file, which ends with its process. What it says of processes on this machine is
 *       true, and so is that somebody has it.
 *   <li>That nobody has it means nothing for other machines: many clusters mount NFS with locks that are each machine's own. So
 *       the holder writes the file anew every few seconds, and one whose time of modification is recent has a holder there.
 *   <li>Some file systems have no locks. There a process on this machine holds the folder if it is alive.
 * </ul>
 */
final class LockFile {
    private static final Logger LOG = LoggerFactory.getLogger(LockFile.class);

    private static final String NAME = ".lock";
    private static final Duration RECENT = Duration.ofSeconds(60);
    private static final int MAX_BYTES = 1024;

    /** Beyond the content, since Windows lets nobody read what is locked. */
    private static final long LOCKED_BYTE = 1 << 30;

    private static final ScheduledThreadPoolExecutor REFRESHER = new ScheduledThreadPoolExecutor(1, task -> {
        Thread thread = new Thread(task, "drakegpt-lock");
        thread.setDaemon(true);
        return thread;
    });

    /** The system's locks. */
    interface Locks {
        /**
         * Locks a file until a channel of it is closed.
         *
         * @return false if another process has locked it
         * @throws IOException if the file system has no locks
         */
        boolean tryLock(FileChannel channel) throws IOException;
    }

    /** How a folder is locked. */
    record Rules(Locks locks, Duration refresh) {
        static final Rules USUAL =
                new Rules(channel -> channel.tryLock(LOCKED_BYTE, 1, false) != null, Duration.ofSeconds(10));
    }

    private enum Lock {
        OURS,
        TAKEN,
        UNSUPPORTED
    }

    /** Whom a file names. */
    private record Holder(String words, String host, long pid) {
        private static final Pattern LINE = Pattern.compile("(process (\\d{1,18}) on host ([\\p{L}\\p{N}._-]{1,255})"
                + " since [-0-9T:]{1,40}Z) \\([0-9a-f]{16}\\)\n");

        static final Holder UNKNOWN = new Holder("another process", "", 0);

        static String line(String token) {
            return "process " + ProcessHandle.current().pid() + " on host " + Host.name() + " since "
                    + Instant.now().truncatedTo(ChronoUnit.SECONDS) + " (" + token + ")\n";
        }

        static Holder of(String text) {
            Matcher line = LINE.matcher(text);
            return line.matches() ? new Holder(line.group(1), line.group(3), Long.parseLong(line.group(2))) : UNKNOWN;
        }

        boolean isOnThisHost() {
            return host.equals(Host.name());
        }

        boolean isThisProcess() {
            return isOnThisHost() && pid == ProcessHandle.current().pid();
        }
    }

    private final Folder folder;
    private final Rules rules;
    private final String token =
            String.format("%016x", ThreadLocalRandom.current().nextLong());
    private final String text = Holder.line(token);

    /** Of the file. They are closed together: closing the first would end the system's lock. */
    private final List<FileChannel> channels = new ArrayList<>();

    private boolean held;
    private Future<?> refreshing;
    private boolean refreshed = true;

    LockFile(Folder folder, Rules rules) {
        this.folder = folder;
        this.rules = rules;
    }

    /** Whether a file in a folder is there for the lock only. */
    static boolean isName(String name) {
        return name.equals(NAME) || name.startsWith(NAME + ".");
    }

    /** Process, host and time, in words. */
    String holder() {
        return Holder.of(text).words();
    }

    /**
     * Makes the file, and keeps it recent until it is closed.
     *
     * @return false if somebody came between; try again
     * @throws FolderLockedException if somebody has it
     */
    synchronized boolean acquire() throws IOException {
        FileChannel channel;
        try {
            channel = open(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        } catch (FileAlreadyExistsException e) {
            replace();
            return false;
        }
        try {
            write(channel);
        } catch (IOException e) {
            folder.delete(NAME); // nobody else removes one that is new and empty
            throw AtomicFiles.failed(folder.path().resolve(NAME), e);
        }
        // A process on this machine may have locked it first, and replace it.
        held = tryLock(channel) != Lock.TAKEN && isNamed(text);
        if (held) {
            long nanos = rules.refresh().toNanos();
            refreshing = REFRESHER.scheduleWithFixedDelay(() -> refresh(channel), nanos, nanos, TimeUnit.NANOSECONDS);
        }
        return held;
    }

    /** Removes the file that is there, if its holder is gone. */
    private void replace() throws IOException {
        FileChannel channel;
        try {
            channel = open(StandardOpenOption.READ, StandardOpenOption.WRITE);
        } catch (NoSuchFileException e) {
            return;
        }
        Lock lock = tryLock(channel);
        String found = read(channel);
        Holder holder = Holder.of(found);
        if (holder.isThisProcess() && lock == Lock.TAKEN) {
            return; // others are about to replace it: this process does not hold it, or would not have come here
        }
        if (lock == Lock.TAKEN) {
            throw new FolderLockedException(folder.path(), holder.words());
        }
        if (holder.isOnThisHost()) {
            if (lock == Lock.UNSUPPORTED
                    && !holder.isThisProcess()
                    && ProcessHandle.of(holder.pid()).isPresent()) {
                throw new FolderLockedException(folder.path(), holder.words());
            }
        } else if (isRecent()) {
            if (found.isEmpty() || !isNamed(found)) {
                return; // somebody is making it, or has just replaced it
            }
            throw perhapsLocked(holder);
        }
        if (isNamed(found)) {
            remove(found);
        }
    }

    /** An error that says how to go on in case the holder is gone. */
    FolderLockedException perhapsLocked() {
        return perhapsLocked(Holder.UNKNOWN);
    }

    private FolderLockedException perhapsLocked(Holder holder) {
        return new FolderLockedException(
                folder.path(), holder.words(), folder.path().resolve(NAME), RECENT.toSeconds());
    }

    /** Whether the file was written a short time ago. Machines' clocks differ, so the file system's tells it. */
    private boolean isRecent() throws IOException {
        String probe = NAME + "." + token;
        try {
            try (FileChannel channel = folder.channel(probe, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                write(channel);
            }
            Duration age = Duration.between(folder.modified(NAME), folder.modified(probe));
            return age.abs().compareTo(RECENT) < 0;
        } catch (NoSuchFileException e) {
            return true; // so recent that its holder has removed it just now
        } finally {
            folder.delete(probe);
        }
    }

    /**
     * Removes the file. It gets another name first: if another machine has replaced it since it was read, that shows, and it
     * gets its name back.
     */
    private void remove(String found) throws IOException {
        String aside = NAME + "." + token;
        try {
            folder.rename(NAME, aside);
        } catch (NoSuchFileException e) {
            return;
        }
        if (new String(folder.read(aside), StandardCharsets.UTF_8).equals(found)) {
            folder.delete(aside);
        } else {
            folder.rename(aside, NAME);
        }
    }

    private Lock tryLock(FileChannel channel) throws IOException {
        try {
            return rules.locks().tryLock(channel) ? Lock.OURS : Lock.TAKEN;
        } catch (ClosedChannelException e) {
            throw e;
        } catch (IOException e) {
            return Lock.UNSUPPORTED;
        }
    }

    /** Whether the file that has the name now says this. */
    private boolean isNamed(String expected) throws IOException {
        try {
            return read(open(StandardOpenOption.READ)).equals(expected);
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    private FileChannel open(OpenOption... options) throws IOException {
        FileChannel channel = folder.channel(NAME, options);
        channels.add(channel);
        return channel;
    }

    private void write(FileChannel channel) throws IOException {
        channel.write(StandardCharsets.UTF_8.encode(text), 0);
    }

    private static String read(FileChannel channel) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(MAX_BYTES);
        channel.read(bytes, 0);
        return StandardCharsets.UTF_8.decode(bytes.flip()).toString();
    }

    private synchronized void refresh(FileChannel channel) {
        if (!channel.isOpen()) {
            return;
        }
        try {
            write(channel);
            channel.force(false); // else NFS keeps it for a while
        } catch (IOException e) {
            if (refreshed) { // once is enough
                LOG.warn(
                        "{} could not be refreshed: {}; another machine may take the folder after {} seconds.",
                        folder.path().resolve(NAME),
                        e.toString(),
                        RECENT.toSeconds());
            }
            refreshed = false;
        }
    }

    /** Removes the file if this made it and it is there still, and frees everything. */
    synchronized void close() throws IOException {
        if (refreshing != null) {
            refreshing.cancel(false);
        }
        try {
            if (held && isNamed(text)) {
                folder.delete(NAME);
            }
        } finally {
            for (FileChannel channel : channels) {
                channel.close();
            }
        }
    }
}
