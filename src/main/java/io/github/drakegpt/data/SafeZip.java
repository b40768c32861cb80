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
 * A zip archive from the internet. Entries are read into memory and never written to disk, so neither a path that
 * leaves the folder nor a link can reach a file; an archive that tries is refused all the same, as is one that would
 * fill the memory.
 *
 * <p>All its errors are {@link ZipException}s whose message continues "the archive ...".
 */
final class SafeZip implements AutoCloseable {
    private static final int MAX_ENTRIES = 10_000;
    private static final long MAX_TOTAL_BYTES = 2L << 30;
    private static final int MAX_ENTRY_BYTES = 256 << 20;
    /** Lyrics shrink to a third; a file of one repeated byte shrinks to a thousandth. */
    private static final int MAX_RATIO = 100;

    private static final Pattern DRIVE = Pattern.compile("[A-Za-z]:.*");

    private final ZipFile zip;

    /**
     * Opens an archive and checks all of its table of contents.
     *
     * @throws ZipException if it is damaged or unsafe
     */
    SafeZip(Path file) throws IOException {
        zip = new ZipFile(file.toFile());
        try {
            check();
        } catch (IOException e) {
            zip.close();
            throw e;
        }
    }

    /** The files in it, folders left out. */
    List<ZipEntry> entries() {
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
    byte[] read(ZipEntry entry) throws IOException {
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
            if (entry.getSize() > MAX_ENTRY_BYTES
                    || total > MAX_TOTAL_BYTES
                    || entry.getSize() / MAX_RATIO > Math.max(entry.getCompressedSize(), 1024)) {
                throw new ZipException("would unpack to far more than lyrics need, at " + name);
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
