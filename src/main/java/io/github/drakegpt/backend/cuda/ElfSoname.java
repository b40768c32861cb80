package io.github.drakegpt.backend.cuda;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Objects;

/**
 * Makes a shared library depend on another version of a library. The dynamic loader finds the name in two places: as a
 * string in {@code .dynstr}, and as a hash in {@code .gnu.version_r}, because NVIDIA names the version of all symbols
 * after the library.
 */
final class ElfSoname {
    private static final int SHT_GNU_VERNEED = 0x6ffffffe;
    private static final byte[] ELF64_LITTLE_ENDIAN = {0x7f, 'E', 'L', 'F', 2, 1};

    private final ByteBuffer elf;
    private final byte[] from;
    private final byte[] to;

    private ElfSoname(ByteBuffer elf, byte[] from, byte[] to) {
        this.elf = elf;
        this.from = from;
        this.to = to;
    }

    /**
     * A copy of a library that needs {@code to} where the original needs {@code from}.
     *
     * @param library the bytes of a 64-bit little-endian ELF file
     * @param from a library's soname, such as {@code libcublas.so.12}
     * @param to another soname of the same length
     * @throws IOException if the file is damaged or does not need {@code from}; the message is a sentence
     */
    static byte[] replace(byte[] library, String from, String to) throws IOException {
        byte[] copy = library.clone();
        byte[] fromBytes = terminated(from);
        byte[] toBytes = terminated(to);
        if (fromBytes.length != toBytes.length) {
            throw new IllegalArgumentException(from + " and " + to + " differ in length");
        }
        boolean replaced;
        try {
            ByteBuffer elf = ByteBuffer.wrap(copy).order(ByteOrder.LITTLE_ENDIAN);
            replaced = new ElfSoname(elf, fromBytes, toBytes).replace();
        } catch (IndexOutOfBoundsException e) {
            throw new IOException("The library that needs " + from + " is damaged; build DrakeGPT again.", e);
        }
        if (!replaced) {
            throw new IOException(
                    "The library that should need " + from + " does not, or is damaged; build DrakeGPT again.");
        }
        return copy;
    }

    private boolean replace() {
        if (!matches(0, ELF64_LITTLE_ENDIAN)) {
            return false;
        }
        long sections = elf.getLong(0x28);
        int size = Short.toUnsignedInt(elf.getShort(0x3a));
        int count = Short.toUnsignedInt(elf.getShort(0x3c));
        for (int i = 0; i < count; i++) {
            int section = index(sections + (long) i * size);
            if (elf.getInt(section + 4) == SHT_GNU_VERNEED) {
                int strings = index(sections + (long) elf.getInt(section + 0x28) * size);
                long start = elf.getLong(strings + 0x18);
                boolean hashed = rehash(elf.getLong(section + 0x18), start);
                return rename(index(start), elf.getLong(strings + 0x20)) && hashed;
            }
        }
        return false;
    }

    /** Each library in the list has its own list of versions; an offset of 0 to the next entry ends either list. */
    private boolean rehash(long libraries, long strings) {
        boolean found = false;
        long library = libraries;
        long next;
        do {
            long version = library + unsigned(library + 8);
            do {
                if (matches(index(strings + unsigned(version + 8)), from)) {
                    elf.putInt(index(version), hash(to));
                    found = true;
                }
                next = unsigned(version + 12);
                version += next;
            } while (next != 0);
            next = unsigned(library + 12);
            library += next;
        } while (next != 0);
        return found;
    }

    private boolean rename(int strings, long size) {
        boolean found = false;
        for (int at = strings; at <= index(strings + size - from.length); at++) {
            if (matches(at, from) && elf.get(at - 1) == 0) {
                elf.put(at, to);
                found = true;
            }
        }
        return found;
    }

    private boolean matches(int at, byte[] expected) {
        return elf.slice(at, expected.length).equals(ByteBuffer.wrap(expected));
    }

    private long unsigned(long at) {
        return Integer.toUnsignedLong(elf.getInt(index(at)));
    }

    private int index(long at) {
        return Math.toIntExact(Objects.checkIndex(at, elf.limit()));
    }

    /** The hash function of the System V ABI. */
    private static int hash(byte[] terminated) {
        int h = 0;
        for (int i = 0; i < terminated.length - 1; i++) {
            h = (h << 4) + terminated[i];
            int high = h & 0xf0000000;
            h = (h ^ high >>> 24) & ~high;
        }
        return h;
    }

    private static byte[] terminated(String name) {
        return (name + '\0').getBytes(StandardCharsets.US_ASCII);
    }
}
