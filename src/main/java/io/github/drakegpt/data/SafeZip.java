package io.github.drakegpt.data;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;

/**
 * A zip archive from elsewhere. Entries are read into memory and never written to disk, so neither a path that
 * leaves the folder nor a link can reach a file; an archive that tries is refused all the same, as is one that would
 * fill the memory.
 *
 * <p>All its errors are {@link ZipException}s whose message continues "the archive ...".
 */
public final class SafeZip implements AutoCloseable {
    private static final int MAX_ENTRIES = 10_000;

    private static final Pattern DRIVE = Pattern.compile("[A-Za-z]:.*");

    /**
     * What an archive may unpack to.
     *
     * @param content what it holds, for messages
     * @param entryBytes most of one entry
     * @param ratio most times the size that an entry has in the archive
     * @param totalBytes most of all entries together
     */
    public record Limits(String content, int entryBytes, int ratio, long totalBytes) {
        private static final int DEFLATE_MAX_RATIO = 1032;
        /** Room for causal masks, which shrink to nothing, in an archive of a small model. */
        private static final int MASKS = 16 << 20;

        private static final int MANY_TIMES = 100;

        /** Lyrics shrink to a third; a file of one repeated byte shrinks to a thousandth. */
        static final Limits LYRICS = new Limits("lyrics", 256 << 20, 100, 2L << 30);

        /** Weights hardly shrink at all, what comes with them may. */
        public static Limits weights(long archiveBytes) {
            return new Limits("weights", Integer.MAX_VALUE - 8, DEFLATE_MAX_RATIO, MASKS + MANY_TIMES * archiveBytes);
        }
    }

    private final ZipFile zip;
    private final Limits limits;

    /**
     * Opens an archive and checks all of its table of contents.
     *
     * @throws ZipException if it is damaged or unsafe
     */
    public SafeZip(Path file, Limits limits) throws IOException {
        this.limits = limits;
        try {
            zip = new ZipFile(file.toFile());
        } catch (EOFException e) {
            throw new ZipException("ends in the middle of its table of contents");
        }
        try {
            check();
        } catch (IOException e) {
            zip.close();
            throw e;
        }
    }

    /** The files in it, folders left out. */
    public List<ZipEntry> entries() {
        return Collections.list(zip.entries()).stream()
                .map(entry -> (ZipEntry) entry)
                .filter(entry -> !entry.isDirectory())
                .toList();
    }

    /**
     * All bytes of a file in it.
     *
     * @throws ZipException if they are damaged, or more than the table of contents says
     */
    public byte[] read(ZipEntry entry) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        CRC32 crc = new CRC32();
        try (InputStream in = zip.getInputStream(entry)) {
            byte[] buffer = new byte[1 << 16];
            for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
                crc.update(buffer, 0, count);
                bytes.write(buffer, 0, count);
                // The table of contents is only a claim of the archive's maker.
                if (bytes.size() > entry.getSize()) {
                    throw new ZipException("has more in " + entry.getName() + " than it says");
                }
            }
        } catch (EOFException e) {
            throw new ZipException("ends in the middle of " + entry.getName());
        }
        if (bytes.size() != entry.getSize() || crc.getValue() != entry.getCrc()) {
            throw new ZipException("has a wrong checksum in " + entry.getName());
        }
        return bytes.toByteArray();
    }

    private void check() throws ZipException {
        if (zip.size() > MAX_ENTRIES) {
            throw new ZipException("has " + zip.size() + " entries, more than " + MAX_ENTRIES);
        }
        long total = 0;
        for (ZipEntry entry : entries()) {
            String name = entry.getName();
            if (leavesFolder(name)) {
                throw new ZipException("has an unsafe path, " + CharTokenizer.printable(name));
            }
            total += entry.getSize();
            if (entry.getSize() < 0 // as more than a long can count
                    || entry.getSize() > limits.entryBytes()
                    || total > limits.totalBytes()
                    || entry.getSize() / limits.ratio() > Math.max(entry.getCompressedSize(), 1024)) {
                throw new ZipException("would unpack to far more than " + limits.content() + " need, at " + name);
            }
        }
    }

    private static boolean leavesFolder(String name) {
        return name.startsWith("/")
                || name.contains("\\")
                || DRIVE.matcher(name).matches()
                || List.of(name.split("/")).contains("..");
    }

    @Override
    public void close() throws IOException {
        zip.close();
    }
}
