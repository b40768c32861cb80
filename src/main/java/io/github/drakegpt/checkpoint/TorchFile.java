package io.github.drakegpt.checkpoint;

import io.github.drakegpt.data.SafeZip;
import io.github.drakegpt.tensor.Shape;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;

/**
 * Reads the state_dict in a file of {@code torch.save}. Since PyTorch 1.6 that is a zip archive of a pickle,
 * {@code NAME/data.pkl}, and of the storages that it refers to, {@code NAME/data/KEY}; before, it was four pickles (magic
 * number, version, the machine, the object), a fifth with the storages' keys, and behind it each storage's length and
 * bytes.
 *
 * <p>The object may be the state_dict, or a dictionary that has it under one of {@link #HOLDERS}. What {@code torch.compile}
 * and {@code DataParallel} put before every name is taken off.
 */
final class TorchFile {
    private static final List<String> HOLDERS = List.of("model", "state_dict", "model_state_dict");
    private static final List<String> WRAPPERS = List.of("_orig_mod.", "module.");

    static final String GIVE_ANOTHER = "give a file of torch.save or a safetensors file";

    private static final String ARCHIVE_PICKLE = "/data.pkl";
    private static final byte[] ZIP_MAGIC = {'P', 'K', 3, 4};
    private static final byte PICKLE_MAGIC = (byte) 0x80; // the instruction PROTO
    private static final BigInteger LEGACY_MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);
    private static final long LEGACY_PROTOCOL = 1001;

    /** Tensors may share storages, but not so many that they take much more memory than the file. */
    private static final int MAX_SHARING = 4;

    private TorchFile() {}

    /** Whether a file that begins with these bytes may be one. */
    static boolean is(byte[] beginning) {
        return isZip(beginning) || beginning.length > 1 && beginning[0] == PICKLE_MAGIC;
    }

    private static boolean isZip(byte[] beginning) {
        return ByteBuffer.wrap(beginning).mismatch(ByteBuffer.wrap(ZIP_MAGIC)) == ZIP_MAGIC.length;
    }

    /**
     * Reads the tensors by name.
     *
     * @param beginning the file's first bytes
     * @throws CorruptFileException if it does not follow the format
     * @throws ForeignFileException if it holds something else than a state_dict
     */
    static Map<String, FileTensor> read(Path file, byte[] beginning) throws IOException {
        return isZip(beginning) ? readZip(file) : readLegacy(file);
    }

    // ---------------------------------------------------------------------------------------------- the two forms

    private static Map<String, FileTensor> readZip(Path file) throws IOException {
        try (SafeZip zip = new SafeZip(file, SafeZip.Limits.weights(Files.size(file)))) {
            Map<String, ZipEntry> entries = new HashMap<>();
            String folder = null;
            for (ZipEntry entry : zip.entries()) {
                entries.put(entry.getName(), entry);
                if (entry.getName().endsWith(ARCHIVE_PICKLE)) {
                    folder = entry.getName().substring(0, entry.getName().length() - ARCHIVE_PICKLE.length());
                }
            }
            if (folder == null) {
                throw new ForeignFileException(
                        file, "is a zip archive without a data.pkl, so torch.save did not write it", GIVE_ANOTHER);
            }
            String prefix = folder;
            ByteOrder order = byteOrder(file, zip, entries.get(prefix + "/byteorder"));
            TorchPickle names = new TorchPickle(file, storage -> {
                ZipEntry entry = entries.get(prefix + "/data/" + storage.key());
                if (entry == null || entry.getSize() < storage.byteCount()) {
                    throw shortStorage(file, storage, entry == null ? 0 : entry.getSize());
                }
                return ByteBuffer.wrap(zip.read(entry)).order(order);
            });
            ByteBuffer pickle = ByteBuffer.wrap(zip.read(entries.get(prefix + ARCHIVE_PICKLE)));
            return loaded(stateDict(file, Unpickler.read(file, pickle, names), names));
        } catch (ZipException e) {
            throw new CorruptFileException(file, "the archive " + e.getMessage(), e);
        }
    }

    private static ByteOrder byteOrder(Path file, SafeZip zip, ZipEntry entry) throws IOException {
        if (entry == null) {
            return ByteOrder.LITTLE_ENDIAN;
        }
        String order = new String(zip.read(entry), StandardCharsets.US_ASCII).strip();
        return switch (order) {
            case "little" -> ByteOrder.LITTLE_ENDIAN;
            case "big" -> ByteOrder.BIG_ENDIAN;
            default -> throw new CorruptFileException(file, "its byte order is neither little nor big", null);
        };
    }

    private static Map<String, FileTensor> readLegacy(Path file) throws IOException {
        ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(file));
        Map<String, ByteBuffer> storages = new HashMap<>();
        TorchPickle names = new TorchPickle(file, storage -> {
            ByteBuffer bytes = storages.get(storage.key());
            if (bytes == null || bytes.capacity() < storage.byteCount()) {
                throw shortStorage(file, storage, bytes == null ? 0 : bytes.capacity());
            }
            return bytes;
        });
        if (!LEGACY_MAGIC.equals(Unpickler.read(file, in, names))) {
            throw new ForeignFileException(file, "is a pickle that torch.save did not write", GIVE_ANOTHER);
        }
        if (!Long.valueOf(LEGACY_PROTOCOL).equals(Unpickler.read(file, in, names))) {
            throw new CorruptFileException(file, "its version is not " + LEGACY_PROTOCOL, null);
        }
        boolean big = Unpickler.read(file, in, names) instanceof Map<?, ?> machine
                && Boolean.FALSE.equals(machine.get("little_endian"));
        Map<String, TorchTensor> tensors = stateDict(file, Unpickler.read(file, in, names), names);
        if (!(Unpickler.read(file, in, names) instanceof List<?> keys)) {
            throw new CorruptFileException(file, "it has no list of its storages", null);
        }
        try {
            for (Object key : keys) {
                TorchStorage storage = names.storage(key)
                        .orElseThrow(
                                () -> new CorruptFileException(file, "it has a storage that no tensor uses", null));
                long elements = in.order(ByteOrder.LITTLE_ENDIAN).getLong();
                if (elements < 0 || elements > in.remaining() / storage.type().bytes()) {
                    throw new CorruptFileException(file, "it ends within storage " + storage.key(), null);
                }
                int bytes = (int) elements * storage.type().bytes();
                storages.put(
                        storage.key(),
                        in.slice(in.position(), bytes).order(big ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN));
                in.position(in.position() + bytes);
            }
        } catch (BufferUnderflowException e) {
            throw new CorruptFileException(file, "it ends before its last storage", e);
        }
        return loaded(tensors);
    }

    /** Reads the storages of tensors. */
    private static Map<String, FileTensor> loaded(Map<String, TorchTensor> tensors) throws IOException {
        Map<String, FileTensor> named = new LinkedHashMap<>();
        for (Map.Entry<String, TorchTensor> entry : tensors.entrySet()) {
            TorchTensor tensor = entry.getValue();
            tensor.storage().bytes();
            named.put(entry.getKey(), new FileTensor(Shape.of(tensor.sizes()), tensor::toFloats));
        }
        return named;
    }

    private static CorruptFileException shortStorage(Path file, TorchStorage storage, long bytes) {
        return new CorruptFileException(
                file,
                "storage " + storage.key() + " has " + bytes + " bytes where its tensors need " + storage.byteCount(),
                null);
    }

    // ---------------------------------------------------------------------------------------------- the state_dict

    private static Map<String, TorchTensor> stateDict(Path file, Object root, TorchPickle names) throws IOException {
        if (!(root instanceof Map<?, ?> dictionary)) {
            throw names.refused("holds something else than a dictionary");
        }
        Map<String, TorchTensor> tensors = tensors(dictionary);
        for (String holder : HOLDERS) {
            if (tensors == null && dictionary.get(holder) instanceof Map<?, ?> inner) {
                tensors = tensors(inner);
            }
        }
        if (tensors == null) {
            throw new ForeignFileException(
                    file,
                    "has no state_dict, neither as a whole nor under " + String.join(", ", HOLDERS),
                    TorchPickle.SAVE_STATE_DICT);
        }
        requireOwnMemory(file, tensors.values());
        Map<String, TorchTensor> named = new LinkedHashMap<>();
        String wrapper = wrapper(tensors.keySet());
        tensors.forEach((name, tensor) -> named.put(name.substring(wrapper.length()), tensor));
        return named;
    }

    private static void requireOwnMemory(Path file, Collection<TorchTensor> tensors) throws ForeignFileException {
        long elements = tensors.stream().mapToLong(TorchTensor::count).sum();
        long bytes = tensors.stream()
                .map(TorchTensor::storage)
                .distinct()
                .mapToLong(TorchStorage::byteCount)
                .sum();
        if (elements > MAX_SHARING * bytes) {
            throw new ForeignFileException(
                    file, "has tensors that share their storages many times over", "save it with each tensor cloned");
        }
    }

    /** A dictionary of texts and tensors, or null if it is none. */
    private static Map<String, TorchTensor> tensors(Map<?, ?> dictionary) {
        Map<String, TorchTensor> tensors = new LinkedHashMap<>();
        for (Map.Entry<?, ?> entry : dictionary.entrySet()) {
            if (!(entry.getKey() instanceof String name) || !(entry.getValue() instanceof TorchTensor tensor)) {
                return null;
            }
            tensors.put(name, tensor);
        }
        return tensors.isEmpty() ? null : tensors;
    }

    /** What stands before every name: all wrappers that do, one behind the other. */
    private static String wrapper(Set<String> names) {
        String found = "";
        for (boolean more = true; more; ) {
            more = false;
            for (String wrapper : WRAPPERS) {
                String longer = found + wrapper;
                if (names.stream().allMatch(name -> name.startsWith(longer))) {
                    found = longer;
                    more = true;
                }
            }
        }
        return found;
    }
}
