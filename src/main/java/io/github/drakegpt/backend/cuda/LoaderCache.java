package io.github.drakegpt.backend.cuda;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * The dynamic loader's default path: the folders of the libraries in {@code /etc/ld.so.cache}, into which
 * {@code ldconfig} has resolved its configuration, and the fallback folders.
 */
final class LoaderCache {
    private static final byte[] MAGIC = "glibc-ld.so.cache1.1".getBytes(StandardCharsets.US_ASCII);
    private static final int HEADER = 48;
    private static final int ENTRY = 24; // flags, key, value, OS version, hardware capabilities
    private static final int ARCHITECTURE = 0xff00;
    private static final int X86_64 = 0x0300;
    private static final List<String> FALLBACK =
            List.of("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib");

    private LoaderCache() {}

    /** The folders, in the loader's order. */
    static Set<Path> folders(Path root) {
        Set<Path> folders = new LinkedHashSet<>();
        try {
            addCached(Files.readAllBytes(root.resolve("etc/ld.so.cache")), folders);
        } catch (IOException | IndexOutOfBoundsException | IllegalArgumentException e) {
            // No cache, or one in an unknown format: the loader, too, goes on with the other folders.
        }
        FALLBACK.forEach(folder -> folders.add(root.resolve(folder)));
        return folders;
    }

    private static void addCached(byte[] file, Set<Path> folders) {
        int start = 0; // an older format may come first
        while (!Arrays.equals(file, start, start + MAGIC.length, MAGIC, 0, MAGIC.length)) {
            start += Integer.BYTES;
        }
        ByteBuffer cache =
                ByteBuffer.wrap(file, start, file.length - start).slice().order(ByteOrder.LITTLE_ENDIAN);
        int entries = cache.getInt(MAGIC.length);
        for (int i = 0; i < entries; i++) {
            int entry = HEADER + i * ENTRY;
            if ((cache.getInt(entry) & ARCHITECTURE) == X86_64) {
                folders.add(Path.of(string(cache, cache.getInt(entry + 8))).getParent());
            }
        }
    }

    private static String string(ByteBuffer cache, int at) {
        int end = at;
        while (cache.get(end) != 0) {
            end++;
        }
        byte[] bytes = new byte[end - at];
        cache.get(at, bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
