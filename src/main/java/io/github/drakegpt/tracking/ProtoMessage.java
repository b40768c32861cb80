package io.github.drakegpt.tracking;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/**
 * A message in the wire format of protocol buffers, written field by field. Fields are identified by number; the caller
 * knows the message's definition.
 *
 * @see <a href="https://protobuf.dev/programming-guides/encoding/">Protocol Buffers: Encoding</a>
 */
final class ProtoMessage {
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int LENGTH_DELIMITED = 2;
    private static final int FIXED32 = 5;

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    /** A field of type int64, or of an enumeration. */
    ProtoMessage add(int field, long value) {
        tag(field, VARINT);
        varint(value);
        return this;
    }

    ProtoMessage add(int field, double value) {
        tag(field, FIXED64);
        littleEndian(Double.doubleToRawLongBits(value), Double.BYTES);
        return this;
    }

    ProtoMessage add(int field, float value) {
        tag(field, FIXED32);
        littleEndian(Float.floatToRawIntBits(value), Float.BYTES);
        return this;
    }

    /** A field of type string, or of bytes that are text. */
    ProtoMessage add(int field, String value) {
        return add(field, value.getBytes(StandardCharsets.UTF_8));
    }

    ProtoMessage add(int field, ProtoMessage value) {
        return add(field, value.toByteArray());
    }

    private ProtoMessage add(int field, byte[] value) {
        tag(field, LENGTH_DELIMITED);
        varint(value.length);
        bytes.writeBytes(value);
        return this;
    }

    private void tag(int field, int wireType) {
        varint((long) field << 3 | wireType);
    }

    /** Seven bits a byte, the lowest first; all but the last byte have the eighth bit set. */
    private void varint(long value) {
        long rest = value;
        for (; (rest & ~0x7fL) != 0; rest >>>= 7) {
            bytes.write((int) rest & 0x7f | 0x80);
        }
        bytes.write((int) rest);
    }

    private void littleEndian(long value, int size) {
        for (int i = 0; i < size; i++) {
            bytes.write((int) (value >>> 8 * i));
        }
    }

    byte[] toByteArray() {
        return bytes.toByteArray();
    }
}
