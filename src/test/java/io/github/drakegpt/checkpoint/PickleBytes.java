package io.github.drakegpt.checkpoint;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Writes pickles by hand, for tests: a state_dict's parts, and what Python would never write. */
final class PickleBytes {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    PickleBytes() {
        op(0x80, 2);
    }

    /** Any bytes. */
    PickleBytes op(int... bytes) {
        for (int b : bytes) {
            out.write(b);
        }
        return this;
    }

    /** Instructions that are letters. */
    PickleBytes ops(String letters) {
        out.writeBytes(letters.getBytes(StandardCharsets.ISO_8859_1));
        return this;
    }

    PickleBytes text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        return op('X').raw(4, bytes.length).ops(new String(bytes, StandardCharsets.ISO_8859_1));
    }

    PickleBytes integer(int value) {
        return op('J').raw(4, value);
    }

    PickleBytes global(String module, String name) {
        return ops("c" + module + "\n" + name + "\n");
    }

    /** A number in its first bytes, little endian. */
    PickleBytes raw(int count, long value) {
        byte[] bytes = ByteBuffer.allocate(Long.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(value)
                .array();
        out.write(bytes, 0, count);
        return this;
    }

    /** A storage of float32. */
    PickleBytes storage(String key, int elements) {
        return ops("(").text("storage")
                .global("torch", "FloatStorage")
                .text(key)
                .text("cpu")
                .integer(elements)
                .ops("tQ");
    }

    /** A tensor of such a storage; sizes and strides in turn. */
    PickleBytes tensor(String key, int elements, int offset, int[] sizes, int[] strides) {
        global("torch._utils", "_rebuild_tensor_v2")
                .ops("(")
                .storage(key, elements)
                .integer(offset);
        integers(sizes);
        integers(strides);
        return op(0x89).global("collections", "OrderedDict").ops(")RtR");
    }

    private void integers(int[] values) {
        ops("(");
        for (int value : values) {
            integer(value);
        }
        ops("t");
    }

    byte[] end() {
        return ops(".").out.toByteArray();
    }
}
