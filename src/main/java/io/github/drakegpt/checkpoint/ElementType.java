package io.github.drakegpt.checkpoint;

import io.github.drakegpt.tensor.Bfloat16;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Optional;

/** Types of a tensor's elements in files, under the names of safetensors; each is that of a storage class of PyTorch. */
public enum ElementType {
    F64("DoubleStorage", 8),
    F32("FloatStorage", 4),
    F16("HalfStorage", 2),
    BF16("BFloat16Storage", 2),
    I64("LongStorage", 8),
    I32("IntStorage", 4),
    I16("ShortStorage", 2),
    I8("CharStorage", 1),
    U8("ByteStorage", 1),
    BOOL("BoolStorage", 1);

    private final String storage;
    private final int bytes;

    ElementType(String storage, int bytes) {
        this.storage = storage;
        this.bytes = bytes;
    }

    /** The type of this name, if there is one. */
    static Optional<ElementType> of(String name) {
        return Arrays.stream(values()).filter(type -> type.name().equals(name)).findFirst();
    }

    /** The type of the elements of a storage class, if there is one of this name. */
    static Optional<ElementType> ofStorage(String name) {
        return Arrays.stream(values()).filter(type -> type.storage.equals(name)).findFirst();
    }

    /** PyTorch's class of storages of this type, in its module {@code torch}. */
    String storage() {
        return storage;
    }

    /** Bytes of one element. */
    int bytes() {
        return bytes;
    }

    /** Whether a finite number stays finite when it is rounded to this type of floating point. */
    public boolean holds(float value) {
        return this != F16 || Float.isFinite(Float16.toFloat(Float16.of(value)));
    }

    /** Element {@code i} of a buffer of this type, rounded to float32. */
    float get(ByteBuffer buffer, int i) {
        int at = i * bytes;
        return switch (this) {
            case F64 -> (float) buffer.getDouble(at);
            case F32 -> buffer.getFloat(at);
            case F16 -> Float16.toFloat(buffer.getShort(at));
            case BF16 -> Bfloat16.toFloat(buffer.getChar(at));
            case I64 -> buffer.getLong(at);
            case I32 -> buffer.getInt(at);
            case I16 -> buffer.getShort(at);
            case I8 -> buffer.get(at);
            case U8 -> buffer.get(at) & 0xFF;
            case BOOL -> buffer.get(at) == 0 ? 0 : 1;
        };
    }

    /** All elements of a buffer of this type, rounded to float32. */
    float[] toFloats(ByteBuffer buffer) {
        float[] values = new float[buffer.remaining() / bytes];
        for (int i = 0; i < values.length; i++) {
            values[i] = get(buffer, i);
        }
        return values;
    }

    /** Puts numbers into a buffer of this type of floating point, rounded to it. */
    void put(ByteBuffer buffer, float[] values, int offset, int count) {
        if (this == F32) {
            buffer.asFloatBuffer().put(values, offset, count);
            return;
        }
        for (int i = offset; i < offset + count; i++) {
            switch (this) {
                case F64 -> buffer.putDouble(values[i]);
                case F16 -> buffer.putShort(Float16.of(values[i]));
                case BF16 -> buffer.putChar(Bfloat16.of(values[i]));
                default -> throw new IllegalArgumentException(this + " is no type of floating point");
            }
        }
    }
}
