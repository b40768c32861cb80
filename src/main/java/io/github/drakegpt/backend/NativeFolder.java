package io.github.drakegpt.backend;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.zip.CRC32;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A folder for libraries that come inside jars. Its files are loaded into this process, so nobody else may be able to
 * write there: it is below the user's cache if only the user (and root) can change any folder of the path, and
 * otherwise a new folder that is deleted at exit.
 *
 * <p>A file appears whole: it is written under a temporary name, synced and renamed. Each content has a folder of its own, so
 * that any number of processes, also of different versions, can use the files at the same time.
 */
public final class NativeFolder {
    private static final Logger log = LoggerFactory.getLogger(NativeFolder.class);
    private static final FileAttribute<Set<PosixFilePermission>> PRIVATE =
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));
    private static final int WRITABLE_BY_OTHERS = 0022;
    private static final int STICKY = 01000;
    private static final int ROOT = 0;

    private static volatile Path chosenCache; // null: the user's

    private final Path folder;
    private final boolean temporary;

    private NativeFolder(Path folder, boolean temporary) {
        this.folder = folder;
        this.temporary = temporary;
    }

    /** The one below this user's cache. */
    public static NativeFolder open() throws IOException {
        return open(userCache());
    }

    /** Takes another folder than the user's cache from now on; what was loaded from there stays loaded. */
    public static void useCache(Path cache) {
        chosenCache = cache.toAbsolutePath();
    }

    /** The folder for data that programs can recreate. */
    public static Path userCache() {
        if (chosenCache != null) {
            return chosenCache;
        }
        String cache = System.getenv("XDG_CACHE_HOME");
        Path home = Path.of(System.getProperty("user.home"));
        return cache == null || !cache.startsWith("/") ? home.resolve(".cache") : Path.of(cache);
    }

    /** The one below {@code cache}, or a temporary one if that is not private. */
    public static NativeFolder open(Path cache) throws IOException {
        Path folder = cache.resolve("drakegpt/natives").toAbsolutePath();
        try {
            Files.createDirectories(folder, PRIVATE);
            if (isPrivate(folder.toRealPath())) {
                return new NativeFolder(folder.toRealPath(), false);
            }
            log.debug("{} is not used, because others can write to it", folder);
        } catch (IOException e) {
            log.debug("{} is not used: {}", folder, e.toString());
        }
        Path fresh = Files.createTempDirectory("drakegpt-natives", PRIVATE);
        fresh.toFile().deleteOnExit();
        return new NativeFolder(fresh, true);
    }

    /** Whether the folder is the user's own, and nobody but the user and root can replace it or a folder above it. */
    private static boolean isPrivate(Path folder) throws IOException {
        Object self = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        for (Path path = folder; path != null; path = path.getParent()) {
            Map<String, Object> attributes = Files.readAttributes(path, "unix:uid,mode");
            Object owner = attributes.get("uid");
            int mode = (int) attributes.get("mode");
            boolean shared = (mode & WRITABLE_BY_OTHERS) != 0;
            boolean ours = owner.equals(self);
            if (path.equals(folder)
                    ? !ours || shared
                    : !ours && !owner.equals(ROOT) || shared && (mode & STICKY) == 0) {
                return false;
            }
        }
        return true;
    }

    /**
     * Makes sure that a file with this content exists, and replaces a file with another one: every byte is compared.
     *
     * @return the file
     */
    public Path put(String name, byte[] content) throws IOException {
        CRC32 crc = new CRC32();
        crc.update(content);
        String set = String.format("%08x-%x", crc.getValue(), content.length);
        Path file = create(set).resolve(name);
        if (!isFile(file) || !Arrays.equals(Files.readAllBytes(file), content)) {
            replace(file, () -> new ByteArrayInputStream(content));
        }
        return forgetAtExit(file);
    }

    /** Like {@link #put(String, byte[])}, for a library within a jar. */
    public Path put(URL library) throws IOException {
        try (InputStream in = library.openStream()) {
            return put(library.getPath().replaceFirst(".*/", ""), in.readAllBytes());
        }
    }

    /**
     * Like {@link #put(String, byte[])}, for files of gigabytes. Their checksum is compared, unless nobody can have
     * touched the file since it was compared last: a seal beside it has its inode and times, of which no program can set
     * that of the last change.
     *
     * @param set a word that identifies the content
     * @param crc CRC-32 of the content
     * @throws IOException if it cannot be written, or the content has another checksum
     */
    public Path put(String set, String name, Opening content, long crc) throws IOException {
        Path file = create(set).resolve(name);
        Path seal = file.resolveSibling(name + ".seal");
        if (!isFile(file) || !isFile(seal) || !Files.readString(seal).equals(seal(file))) {
            if (!isFile(file) || checksum(file) != crc) {
                replace(file, content);
                if (checksum(file) != crc) {
                    Files.delete(file);
                    throw new IOException(name + " is damaged where it comes from; get that jar again");
                }
            }
            replace(seal, () -> new ByteArrayInputStream(seal(file).getBytes(StandardCharsets.UTF_8)));
        }
        forgetAtExit(seal);
        return forgetAtExit(file);
    }

    /** Opens the content to copy. */
    @FunctionalInterface
    public interface Opening {
        InputStream open() throws IOException;
    }

    private Path create(String name) throws IOException {
        Path created = folder.resolve(name);
        Files.createDirectories(created, PRIVATE);
        return forgetAtExit(created);
    }

    private static boolean isFile(Path file) {
        return Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS);
    }

    /** Writes beside, syncs, renames. */
    private static void replace(Path file, Opening content) throws IOException {
        Path part = Files.createTempFile(file.getParent(), file.getFileName().toString(), ".part");
        try (InputStream in = content.open()) {
            Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
            sync(part, StandardOpenOption.WRITE);
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            sync(file.getParent(), StandardOpenOption.READ);
        } finally {
            Files.deleteIfExists(part);
        }
    }

    private static void sync(Path path, OpenOption access) throws IOException {
        try (FileChannel channel = FileChannel.open(path, access)) {
            channel.force(true);
        }
    }

    private static long checksum(Path file) throws IOException {
        CRC32 crc = new CRC32();
        ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
        try (FileChannel channel = FileChannel.open(file)) {
            while (channel.read(buffer.clear()) >= 0) {
                crc.update(buffer.flip());
            }
        }
        return crc.getValue();
    }

    private static String seal(Path file) throws IOException {
        return new TreeMap<>(Files.readAttributes(file, "unix:ino,size,lastModifiedTime,ctime")).toString();
    }

    private Path forgetAtExit(Path path) {
        if (temporary) {
            path.toFile().deleteOnExit();
        }
        return path;
    }
}
