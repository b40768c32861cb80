package io.github.drakegpt.data;

import java.io.BufferedOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
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
        writeAll(Map.of(file, content));
    }

    /**
     * Writes files that belong together: all are complete and synced before the first takes its name, so a full disk
     * leaves every old file as it was.
     *
     * @param files the files in the order in which they take their names; their folders exist
     * @throws IOException if one cannot be written; the message is a sentence
     */
    public static void writeAll(Map<Path, Content> files) throws IOException {
        Map<Path, Path> staged = new LinkedHashMap<>();
        try {
            for (Map.Entry<Path, Content> file : files.entrySet()) {
                Path temporary = temporary(file.getKey());
                staged.put(temporary, file.getKey());
                stage(temporary, file.getKey(), file.getValue());
            }
            for (Map.Entry<Path, Path> move : staged.entrySet()) {
                rename(move.getKey(), move.getValue());
            }
            Set<Path> folders = files.keySet().stream().map(AtomicFiles::folder).collect(Collectors.toSet());
            for (Path folder : folders) {
                sync(folder);
            }
        } finally {
            for (Path temporary : staged.keySet()) {
                remove(temporary);
            }
        }
    }

    /**
     * Renames a complete and synced file to its final name in the same folder, and replaces an old file of that name.
     */
    static void move(Path from, Path to) throws IOException {
        rename(from, to);
        sync(folder(to));
    }

    /** Whether a killed program left this file while it wrote one called {@code name}. */
    public static boolean isLeftover(Path file, Set<String> names) {
        var match = TEMPORARY.matcher(file.getFileName().toString());
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
        } else if (e instanceof FileSystemException f && f.getReason() != null) {
            reason = f.getReason();
        }
        return new IOException(
                "Could not write " + file + ": " + reason + "; mend that or choose another place, then run it again.",
                e);
    }

    private static Path temporary(Path file) {
        String random = UUID.randomUUID().toString().substring(0, 8);
        return file.resolveSibling("." + file.getFileName() + "." + random + ".tmp");
    }

    private static void stage(Path temporary, Path file, Content content) throws IOException {
        try (FileChannel channel =
                FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            OutputStream out = new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16);
            content.writeTo(out);
            out.flush();
            channel.force(true);
        } catch (IOException e) {
            throw failed(file, e);
        }
    }

    private static void rename(Path from, Path to) throws IOException {
        try {
            Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            throw failed(to, e);
        }
    }

    /** Makes a rename survive a power cut. Windows opens no folder as a file and needs no such sync. */
    public static void sync(Path folder) throws IOException {
        if (File.separatorChar == '/') {
            try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
                channel.force(true);
            }
        }
    }

    private static void remove(Path temporary) {
        try {
            Files.deleteIfExists(temporary);
        } catch (IOException e) {
            // The error that brought us here matters more than the file left behind.
            LOG.warn("{} was left behind and can be deleted: {}", temporary, e.toString());
        }
    }

    private static Path folder(Path file) {
        Path folder = file.getParent();
        return folder == null ? Path.of(".") : folder;
    }
}
