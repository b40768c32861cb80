package io.github.drakegpt.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;

/**
 * The part of a download that has arrived: {@code X.part}, and {@code X.part.etag} with the server's name for that
 * version of the file. Only with that name can it be continued, since the file on the server may change in between.
 */
final class PartFile {
    private final Path target;
    private final Path part;
    private final Path etagFile;

    PartFile(Path target) {
        this.target = target;
        this.part = part(target);
        this.etagFile = etagFile(target);
    }

    static Path part(Path target) {
        return target.resolveSibling(target.getFileName() + ".part");
    }

    static Path etagFile(Path target) {
        return target.resolveSibling(target.getFileName() + ".part.etag");
    }

    /** The version to continue with; empty if there is nothing to continue. */
    Optional<String> etag() throws IOException {
        if (!Files.exists(etagFile) || size() == 0) {
            return Optional.empty();
        }
        return Optional.of(Files.readString(etagFile));
    }

    long size() throws IOException {
        return Files.exists(part) ? Files.size(part) : 0;
    }

    /** Starts again, with a version's name if the server gives a reliable one. */
    void restart(Optional<String> etag) throws IOException {
        // The old name goes first and the new one comes last: it never stands beside another version's bytes.
        Files.deleteIfExists(etagFile);
        Files.deleteIfExists(part);
        // A weak tag (W/) promises the same meaning, not the same bytes.
        if (etag.isPresent() && etag.get().startsWith("\"")) {
            AtomicFiles.write(etagFile, etag.get().getBytes(StandardCharsets.UTF_8));
        }
    }

    /** Opens the part to add to its end. */
    FileChannel append() throws IOException {
        try {
            return FileChannel.open(
                    part, StandardOpenOption.CREATE, StandardOpenOption.APPEND, LinkOption.NOFOLLOW_LINKS);
        } catch (IOException e) {
            throw AtomicFiles.failed(part, e);
        }
    }

    void write(FileChannel channel, ByteBuffer bytes) throws IOException {
        try {
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
        } catch (IOException e) {
            throw AtomicFiles.failed(part, e);
        }
    }

    /** Gives the complete part its final name. */
    void complete() throws IOException {
        Files.deleteIfExists(etagFile);
        AtomicFiles.move(part, target);
    }
}
