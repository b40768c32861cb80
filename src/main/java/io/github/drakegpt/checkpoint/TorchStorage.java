package io.github.drakegpt.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;

/** The memory of one or more tensors of a file of {@code torch.save}, which is read when it is first used. */
final class TorchStorage {
    /** Where the bytes are. */
    interface Source {
        /** The bytes of a storage in the file's byte order. */
        ByteBuffer read(TorchStorage storage) throws IOException;
    }

    private final String key;
    private final ElementType type;
    private final long elements;
    private final Source source;
    private ByteBuffer bytes; // null until it is read

    /**
     * @param key its name in the file
     * @param elements how many the pickle says that it has
     */
    TorchStorage(String key, ElementType type, long elements, Source source) {
        this.key = key;
        this.type = type;
        this.elements = elements;
        this.source = source;
    }

    String key() {
        return key;
    }

    ElementType type() {
        return type;
    }

    long elements() {
        return elements;
    }

    /** Bytes that the pickle says it has. */
    long byteCount() {
        return elements * type.bytes();
    }

    /** At least {@link #byteCount} bytes. */
    ByteBuffer bytes() throws IOException {
        if (bytes == null) {
            bytes = source.read(this);
        }
        return bytes;
    }
}
