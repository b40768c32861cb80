package io.github.drakegpt.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.SecureDirectoryStream;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributeView;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;

/**
 * A folder that is held open: its files are reached through the folder itself, whatever becomes of its name meanwhile, and
 * none is written through a link. Where the system has no such way (Windows), they are reached by their paths.
 *
 * <p>A folder can be locked, so that nobody else who locks it writes there meanwhile, neither another process nor another
 * thread, nor another machine: a file in it, {@code .lock}, says who has it.
 */
public final class Folder implements AutoCloseable {
    private static final int MAX_ATTEMPTS = 100;
    private static final Duration PAUSE = Duration.ofMillis(10);

    /**
     * Locks of this process by the folder's key, those too that it tries to get. POSIX locks are a process's, and all are
     * lost when any channel of their file is closed, so nobody else in it may open one.
     */
    private static final Map<Object, LockFile> LOCKS = new ConcurrentHashMap<>();

    private final Path path;
    private final DirectoryStream<Path> stream;
    private final Object key;
    private LockFile lock; // null if it is not locked, or no more

    private Folder(Path path, DirectoryStream<Path> stream) throws IOException {
        this.path = path;
        this.stream = stream;
        this.key = key(attributes("."), path);
    }

    /**
     * Opens a folder.
     *
     * @throws NoSuchFileException if there is none
     * @throws NotDirectoryException if it is a file
     */
    public static Folder open(Path path) throws IOException {
        DirectoryStream<Path> stream = Files.newDirectoryStream(path);
        try {
            return new Folder(path, stream);
        } catch (IOException | RuntimeException | Error e) {
            stream.close();
            throw e;
        }
    }

    /**
     * Opens a folder and locks it until it is closed.
     *
     * @throws FolderLockedException if somebody else has locked it
     * @throws NoSuchFileException if there is none
     */
    public static Folder lock(Path path) throws IOException {
        return lock(path, LockFile.Rules.USUAL);
    }

    static Folder lock(Path path, LockFile.Rules rules) throws IOException {
        for (int attempt = 1; ; attempt++) {
            Folder folder = open(path);
            LockFile file = new LockFile(folder, rules);
            try {
                if (folder.lock(file)) {
                    return folder;
                }
                if (attempt == MAX_ATTEMPTS) {
                    throw file.perhapsLocked();
                }
            } catch (IOException | RuntimeException | Error e) {
                folder.close();
                throw e;
            }
            folder.close(); // somebody is about to lock it, to unlock it, or to remove or rename it
            LockSupport.parkNanos(PAUSE.toNanos());
        }
    }

    /**
     * Opens a folder, made if it is not there, and locks it until it is closed.
     *
     * @throws FolderLockedException if somebody else has locked it
     */
    public static Folder make(Path path) throws IOException {
        for (int attempt = 1; ; attempt++) {
            if (Files.isRegularFile(path)) {
                throw new NotDirectoryException(path.toString());
            }
            try {
                if (!Files.isDirectory(path)) { // JDK 17 refuses a link to a folder
                    Files.createDirectories(path);
                }
                return lock(path);
            } catch (NoSuchFileException | FileAlreadyExistsException e) {
                if (attempt == MAX_ATTEMPTS) { // else whoever had it removed it in this moment
                    throw e;
                }
            }
        }
    }

    /** Where it was when it was opened. */
    public Path path() {
        return path;
    }

    /** Whether it is locked, and not closed yet. */
    public synchronized boolean isLocked() {
        return lock != null;
    }

    private synchronized boolean lock(LockFile file) throws IOException {
        LockFile other = LOCKS.putIfAbsent(key, file);
        if (other != null) {
            throw new FolderLockedException(path, other.holder());
        }
        try {
            if (file.acquire() && hasName()) { // who had locked it before may have removed or renamed it
                lock = file;
            }
        } catch (NoSuchFileException e) {
            return false; // no file can be made in a folder that is removed
        } finally {
            if (lock == null) {
                release(file);
            }
        }
        return lock != null;
    }

    private void release(LockFile file) throws IOException {
        try {
            file.close();
        } finally {
            LOCKS.remove(key);
        }
    }

    /** Whether the path leads here still. */
    private boolean hasName() throws IOException {
        return Files.exists(path)
                && key(Files.readAttributes(path, BasicFileAttributes.class), path)
                        .equals(key);
    }

    private static Object key(BasicFileAttributes attributes, Path path) throws IOException {
        return attributes.fileKey() == null ? path.toRealPath() : attributes.fileKey();
    }

    /** Names of what is in it, sorted, without the lock. */
    public List<String> names() throws IOException {
        List<String> names = new ArrayList<>();
        try (DirectoryStream<Path> entries = stream instanceof SecureDirectoryStream<Path> secure
                ? secure.newDirectoryStream(relative("."))
                : Files.newDirectoryStream(path)) {
            entries.forEach(entry -> names.add(entry.getFileName().toString()));
        }
        names.removeIf(LockFile::isName);
        names.sort(null);
        return names;
    }

    /** Whether there is a file of this name, or a link. */
    public boolean exists(String name) throws IOException {
        try {
            attributes(name);
            return true;
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    /** All bytes of a file. */
    public byte[] read(String name) throws IOException {
        try (FileChannel channel = stream instanceof SecureDirectoryStream<Path> secure
                        ? (FileChannel) secure.newByteChannel(relative(name), Set.of(StandardOpenOption.READ))
                        : FileChannel.open(path.resolve(name), StandardOpenOption.READ);
                InputStream in = Channels.newInputStream(channel)) {
            return in.readAllBytes();
        } catch (NoSuchFileException e) {
            throw new NoSuchFileException(path.resolve(name).toString());
        }
    }

    /**
     * Opens a file to write to.
     *
     * @throws FileSystemException if it is a link
     */
    public FileChannel channel(String name, OpenOption... options) throws IOException {
        Set<OpenOption> all = new HashSet<>(Arrays.asList(options));
        all.add(LinkOption.NOFOLLOW_LINKS);
        try {
            return stream instanceof SecureDirectoryStream<Path> secure
                    ? (FileChannel) secure.newByteChannel(relative(name), all)
                    : FileChannel.open(path.resolve(name), all);
        } catch (IOException e) {
            if (exists(name) && attributes(name).isSymbolicLink()) {
                throw new FileSystemException(
                        path.resolve(name).toString(), null, "it is a link, and nothing is written through links");
            }
            throw e;
        }
    }

    /** Gives a file another name, and replaces one that has it. */
    public void rename(String from, String to) throws IOException {
        if (stream instanceof SecureDirectoryStream<Path> secure) {
            secure.move(relative(from), secure, relative(to));
        } else {
            Files.move(path.resolve(from), path.resolve(to), StandardCopyOption.ATOMIC_MOVE);
        }
    }

    /** Removes a file, or a link, if there is one. */
    public void delete(String name) throws IOException {
        if (stream instanceof SecureDirectoryStream<Path> secure) {
            try {
                secure.deleteFile(relative(name));
            } catch (NoSuchFileException e) {
                // as wanted
            }
        } else {
            Files.deleteIfExists(path.resolve(name));
        }
    }

    /** Makes renames survive a power cut. Windows opens no folder as a file and needs no such sync. */
    public void sync() throws IOException {
        if (stream instanceof SecureDirectoryStream<Path> secure) {
            try (FileChannel channel =
                    (FileChannel) secure.newByteChannel(relative("."), Set.of(StandardOpenOption.READ))) {
                channel.force(true);
            }
        }
    }

    /**
     * Removes the folder, which must be locked, if nothing is in it.
     *
     * @return whether it is gone
     */
    public synchronized boolean removeIfEmpty() throws IOException {
        if (lock == null) {
            throw new IllegalStateException("only who has locked a folder may remove it");
        }
        if (!names().isEmpty() || !hasName()) {
            return false;
        }
        unlock();
        try {
            Files.deleteIfExists(path); // whoever has come since may have removed it already
            return true;
        } catch (DirectoryNotEmptyException e) {
            return false; // somebody has begun to use it
        }
    }

    /** When a file, or a link, was written last, by the file system's clock. */
    Instant modified(String name) throws IOException {
        return attributes(name).lastModifiedTime().toInstant();
    }

    private BasicFileAttributes attributes(String name) throws IOException {
        return stream instanceof SecureDirectoryStream<Path> secure
                ? secure.getFileAttributeView(relative(name), BasicFileAttributeView.class, LinkOption.NOFOLLOW_LINKS)
                        .readAttributes()
                : Files.readAttributes(path.resolve(name), BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
    }

    private Path relative(String name) {
        return path.getFileSystem().getPath(name);
    }

    private void unlock() throws IOException {
        LockFile released = lock;
        lock = null;
        release(released);
    }

    /** Closes it, and lets others have it if it was locked. */
    @Override
    public synchronized void close() throws IOException {
        try (stream) {
            if (lock != null) {
                unlock();
            }
        }
    }
}
