package io.github.drakegpt.data;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Files that appear whole or not at all: written under a temporary name, synced, renamed. The old file stays until the
 * new one is complete, even when the disk is full or the power fails.
 */
public final class AtomicFiles {
    private static final Logger LOG = LoggerFactory.getLogger(AtomicFiles.class);
    private static final Pattern TEMPORARY = Pattern.compile("\\.(.+)\\.[0-9a-f]{8}\\.tmp");

    private AtomicFiles() {}

    /** Writes the content of one file. */
    @FunctionalInterface
    public interface Content {
        /** Writes everything to {@code out}, which is buffered and closed by the caller. */
        void writeTo(OutputStream out) throws IOException;
    }

    /**
     * Writes a file, or replaces it.
     *
     * @throws IOException if it cannot be written; the message is a sentence, and the old file is still there
     */
    public static void write(Path file, byte[] bytes) throws IOException {
        write(file, out -> out.write(bytes));
    }

    /**
     * Writes a file, or replaces it, from a stream.
     *
     * @throws IOException if it cannot be written; the message is a sentence, and the old file is still there
     */
    public static void write(Path file, Content content) throws IOException {
        try (Folder folder = Folder.open(folder(file))) {
            writeAll(folder, Map.of(file.getFileName().toString(), content));
        } catch (NoSuchFileException | NotDirectoryException e) {
            throw failed(file, e);
        }
    }

    /**
     * Writes files that belong together: all are complete and synced before the first takes its name, so a full disk
     * leaves every old file as it was.
     *
     * @param files by name, in the order in which they are written and take their names
     * @throws IOException if one cannot be written; the message is a sentence
     */
    public static void writeAll(Folder folder, Map<String, Content> files) throws IOException {
        Map<String, String> staged = new LinkedHashMap<>();
        try {
            for (Map.Entry<String, Content> file : files.entrySet()) {
                String temporary = temporary(file.getKey());
                staged.put(temporary, file.getKey());
                stage(folder, temporary, file.getKey(), file.getValue());
            }
            for (Map.Entry<String, String> move : staged.entrySet()) {
                rename(folder, move.getKey(), move.getValue());
            }
            folder.sync();
        } finally {
            for (String temporary : staged.keySet()) {
                remove(folder, temporary);
            }
        }
    }

    /**
     * Renames a complete and synced file to its final name in the same folder, and replaces an old file of that name.
     */
    static void move(Path from, Path to) throws IOException {
        try (Folder folder = Folder.open(folder(to))) {
            rename(folder, from.getFileName().toString(), to.getFileName().toString());
            folder.sync();
        }
    }

    /** Whether a killed program left this file while it wrote one called {@code name}. */
    public static boolean isLeftover(String file, Set<String> names) {
        var match = TEMPORARY.matcher(file);
        return match.matches() && names.contains(match.group(1));
    }

    /** An error of writing {@code file} as one sentence. */
    public static IOException failed(Path file, IOException e) {
        if (e instanceof AccessDeniedException) {
            return new AccessDeniedException(folder(file).toString());
        }
        String reason = e.getMessage();
        if (e instanceof NoSuchFileException) {
            reason = "its folder does not exist";
        } else if (e instanceof NotDirectoryException) {
            reason = "its folder is a file";
        } else if (e instanceof FileSystemException f && f.getReason() != null) {
            reason = f.getReason();
        }
        return new IOException(
                "Could not write " + file + ": " + reason + "; mend that or choose another place, then run it again.",
                e);
    }

    private static String temporary(String file) {
        String random = UUID.randomUUID().toString().substring(0, 8);
        return "." + file + "." + random + ".tmp";
    }

    private static void stage(Folder folder, String temporary, String file, Content content) throws IOException {
        try (FileChannel channel = folder.channel(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            OutputStream out = new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16);
            content.writeTo(out);
            out.flush();
            channel.force(true);
        } catch (IOException e) {
            throw failed(folder.path().resolve(file), e);
        }
    }

    private static void rename(Folder folder, String from, String to) throws IOException {
        try {
            folder.rename(from, to);
        } catch (IOException e) {
            throw failed(folder.path().resolve(to), e);
        }
    }

    private static void remove(Folder folder, String temporary) {
        try {
            if (folder.exists(temporary)) { // a file system that is read-only refuses even to delete nothing
                folder.delete(temporary);
            }
        } catch (IOException e) {
            // The error that brought us here matters more than the file left behind.
            LOG.warn("{} was left behind and can be deleted: {}", folder.path().resolve(temporary), e.toString());
        }
    }

    private static Path folder(Path file) {
        Path folder = file.getParent();
        return folder == null ? Path.of(".") : folder;
    }
}
