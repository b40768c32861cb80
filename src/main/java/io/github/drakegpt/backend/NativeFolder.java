package io.github.drakegpt.backend;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import java.util.jar.JarEntry;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A folder for libraries that come inside jars. Its files are loaded into this process, so nobody else may be able to
 * write there: it is below the user's cache if only the user (and root) can change any folder of the path, and
 * otherwise a new folder that is deleted at exit.
 *
 * <p>A file appears whole: it is written under a temporary name and renamed. Each content has a folder of its own, so
 * that any number of processes, also of different versions, can use the files at the same time.
 */
public final class NativeFolder {
    private static final Logger log = LoggerFactory.getLogger(NativeFolder.class);
    private static final FileAttribute<Set<PosixFilePermission>> PRIVATE =
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));
    private static final int WRITABLE_BY_OTHERS = 0022;
    private static final int STICKY = 01000;
    private static final int ROOT = 0;

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

    /** The folder for data that programs can recreate. */
    public static Path userCache() {
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
     * Makes sure that a file with this content exists, and replaces a file with another one.
     *
     * @return the file
     */
    public Path put(String name, byte[] content) throws IOException {
        Path file = create(digest(content)).resolve(name);
        if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)
                || !Arrays.equals(Files.readAllBytes(file), content)) {
            Path part = Files.createTempFile(file.getParent(), name, ".part");
            try {
                Files.write(part, content);
                move(part, file);
            } finally {
                Files.deleteIfExists(part);
            }
        }
        return forgetAtExit(file);
    }

    /**
     * Like {@link #put(String, byte[])}, for files of gigabytes, of which only the size is compared.
     *
     * @param set a word that identifies the content
     */
    public Path put(String set, String name, Opening content, long size) throws IOException {
        Path file = create(set).resolve(name);
        if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) || Files.size(file) != size) {
            Path part = Files.createTempFile(file.getParent(), name, ".part");
            try (InputStream in = content.open()) {
                Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
                move(part, file);
            } finally {
                Files.deleteIfExists(part);
            }
        }
        return forgetAtExit(file);
    }

    /** Like {@link #put(String, byte[])}, for a library within a jar, identified by checksum and size. */
    public Path put(URL library) throws IOException {
        String name = library.getPath().replaceFirst(".*/", "");
        if (library.openConnection() instanceof JarURLConnection connection) {
            JarEntry entry = connection.getJarEntry();
            String set = String.format("%08x-%x", entry.getCrc(), entry.getSize());
            return put(set, name, library::openStream, entry.getSize());
        }
        try (InputStream in = library.openStream()) {
            return put(name, in.readAllBytes());
        }
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

    private static void move(Path part, Path file) throws IOException {
        Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private Path forgetAtExit(Path path) {
        if (temporary) {
            path.toFile().deleteOnExit();
        }
        return path;
    }

    private static String digest(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content), 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("Every Java platform has SHA-256", e);
        }
    }
}
