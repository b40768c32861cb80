package io.github.drakegpt.ops;

import io.github.drakegpt.ops.Operand.Extent;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * The operands of an operation: each tensor's name, element type, dimensions and access, in one place. An operation is
 * {@linkplain #check checked} when its record is made; the fused kernels, the benchmark's byte counts and the tests
 * read the same list.
 *
 * <p>Dimensions are names; equal names must have equal lengths, a number before a name multiplies it, as in {@code 3a}.
 * {@code rows} as the first dimension says that a pass uses as many rows as it has tokens, {@code batch} as many as it
 * has sequences; only there the tensor may be larger than the pass. The first name stands for all leading dimensions of
 * a tensor that has more: (B, T, C) is {@code rows, c}. A null tensor is left out.
 */
public final class Operands {
    static final String ROWS = "rows";
    static final String BATCH = "batch";

    private final String operation;
    private final List<Operand> slots = new ArrayList<>();
    private final Map<String, Bound> bound = new HashMap<>();
    private Operand activations; // the first operand that may be F32 or BF16

    /** The length that a name stands for, and the operand that determined it. */
    private record Bound(long length, Operand by) {}

    /** @param operation the name of its method in {@link Operations}, for error messages */
    Operands(String operation) {
        this.operation = operation;
    }

    /** The name of its method in {@link Operations}. */
    public String operation() {
        return operation;
    }

    /** All operands that are not null, in the order of the record. */
    public List<Operand> list() {
        return slots.stream().filter(Objects::nonNull).toList();
    }

    /** The same with nulls: each operand at its place in the record. */
    public List<Operand> slots() {
        return slots;
    }

    // ---------------------------------------------------------------------------------------------- telling

    /** An activation or gradient that is read: F32 or BF16, the same for all of an operation. */
    Operands read(String name, Tensor tensor, String... dims) {
        return activation(Access.READ, name, tensor, dims);
    }

    /** The same, written. */
    Operands write(String name, Tensor tensor, String... dims) {
        return activation(Access.WRITE, name, tensor, dims);
    }

    /** The same, updated. */
    Operands update(String name, Tensor tensor, String... dims) {
        return activation(Access.UPDATE, name, tensor, dims);
    }

    /** The same, with any access. */
    Operands activation(Access access, String name, Tensor tensor, String... dims) {
        any(access, name, tensor, dims);
        if (tensor != null) {
            if (activations == null) {
                activations = last();
            }
            if (tensor.dtype() != activations.tensor().dtype()) {
                throw new IllegalArgumentException(operation + ": " + name + " is " + tensor.dtype() + ", "
                        + activations.name() + " is " + activations.tensor().dtype() + "; give both one type.");
            }
        }
        return this;
    }

    /**
     * An operand of a fixed type: parameters, their gradients and statistics are F32 even where activations are BF16.
     */
    Operands of(DType dtype, Access access, String name, Tensor tensor, String... dims) {
        return add(access, name, tensor, tensor == null || tensor.dtype() == dtype, dtype.toString(), dims);
    }

    /** An operand that may be F32 or BF16, independently of the others. */
    Operands any(Access access, String name, Tensor tensor, String... dims) {
        return add(access, name, tensor, tensor == null || isFloat(tensor), "F32 or BF16", dims);
    }

    private Operands add(Access access, String name, Tensor tensor, boolean rightType, String wanted, String... dims) {
        if (!rightType) {
            throw new IllegalArgumentException(
                    operation + ": " + name + " is " + tensor.dtype() + "; it has to be " + wanted + ".");
        }
        if (tensor == null) {
            slots.add(null);
            return this;
        }
        Extent extent = dims[0].equals(ROWS) ? Extent.ROWS : dims[0].equals(BATCH) ? Extent.SEQUENCES : Extent.WHOLE;
        Operand operand = new Operand(name, tensor, access, extent, List.of(dims), List.of());
        slots.add(operand);
        bind(operand);
        return this;
    }

    private Operand last() {
        return slots.get(slots.size() - 1);
    }

    /** An F32 operand that is read. */
    Operands readF32(String name, Tensor tensor, String... dims) {
        return of(DType.F32, Access.READ, name, tensor, dims);
    }

    /** An I32 operand that is read. */
    Operands readI32(String name, Tensor tensor, String... dims) {
        return of(DType.I32, Access.READ, name, tensor, dims);
    }

    /** An F32 operand that is written. */
    Operands writeF32(String name, Tensor tensor, String... dims) {
        return of(DType.F32, Access.WRITE, name, tensor, dims);
    }

    /** An F32 operand whose elements are sums over the rows of the pass: a parameter's gradient, or a loss. */
    Operands sum(String name, Tensor tensor, String... dims) {
        of(DType.F32, Access.WRITE, name, tensor, dims);
        if (tensor != null) {
            slots.set(slots.size() - 1, new Operand(name, tensor, Access.WRITE, Extent.SUM, last().dims(), List.of()));
        }
        return this;
    }

    /** The step that a mask or a draw depends on; null where nothing is dropped. */
    Operands dropout(Dropout dropout) {
        return dropout == null ? this : readI32("step", dropout.stream().step(), "1");
    }

    /** The results of a norm: its output and statistics, or its output rounded to 8 bits. */
    Operands normed(Tensor out, Tensor stats, Int8Rows rounded, String... statsDims) {
        if (rounded == null) {
            return write("out", out, ROWS, "c").writeF32("stats", stats, statsDims);
        }
        DType rows = activations.tensor().dtype();
        if (rows != DType.F32) {
            throw new IllegalArgumentException(
                    operation + ": " + activations.name() + " is " + rows + "; only F32 is rounded to 8 bits.");
        }
        rounded.requireColumns(operation, out.shape().columns());
        return of(DType.F32, Access.SCRATCH, "out", out, ROWS, "c")
                .of(DType.F32, Access.SCRATCH, "stats", stats, statsDims)
                .int8(Access.WRITE, "rounded", rounded);
    }

    /** Rows of 8 bits. */
    Operands int8(Access access, String name, Int8Rows q) {
        return of(DType.I8, access, name + ".values", q.values(), ROWS, name + " stride")
                .of(DType.F32, access, name + ".scales", q.scales(), ROWS)
                .of(DType.I32, access, name + ".sums", q.sums(), ROWS);
    }

    /** Packed weights that are read. */
    Operands packed(String name, PackedWeights w) {
        return of(DType.I8, Access.READ, name + ".codes", w.codes(), name + " bytes")
                .readF32(name + ".scales", w.scales(), "out");
    }

    /** Tensors of one size that are read. */
    Operands all(String name, List<Tensor> tensors, String... dims) {
        for (int i = 0; i < tensors.size(); i++) {
            readF32(name + "s[" + i + "]", tensors.get(i), dims);
        }
        return this;
    }

    /** An operand of any type, used as a whole. */
    Operands copied(String name, Tensor tensor, Access access) {
        return of(tensor.dtype(), access, name, tensor, "n");
    }

    static boolean isFloat(Tensor tensor) {
        return tensor.dtype() == DType.F32 || tensor.dtype() == DType.BF16;
    }

    /** Allows the last operand to be the same tensor as these. */
    Operands orOver(String... names) {
        Operand last = last();
        if (last != null) {
            slots.set(
                    slots.size() - 1,
                    new Operand(last.name(), last.tensor(), last.access(), last.extent(), last.dims(), List.of(names)));
        }
        return this;
    }

    // ---------------------------------------------------------------------------------------------- checking

    /** The product of the first dimensions of a shape, down to the last {@code dims - 1}. */
    static long leading(Shape shape, int dims) {
        long product = 1;
        for (int i = 0; i <= shape.rank() - dims; i++) {
            product *= shape.dim(i);
        }
        return product;
    }

    private void bind(Operand operand) {
        Shape shape = operand.tensor().shape();
        List<String> dims = operand.dims();
        if (shape.rank() < dims.size()) {
            throw new IllegalArgumentException(operation + ": " + operand.name() + " is " + shape + "; it has to be ("
                    + String.join(", ", dims) + ").");
        }
        for (int i = 0; i < dims.size(); i++) {
            long length = i == 0 ? leading(shape, dims.size()) : shape.dim(shape.rank() - dims.size() + i);
            bind(operand, dims.get(i), length);
        }
    }

    /** Binds a name to a length, or compares the length with the one that is bound to it. */
    private void bind(Operand operand, String dim, long length) {
        int factor = 0;
        int digits = 0;
        while (digits < dim.length() && Character.isDigit(dim.charAt(digits))) {
            factor = 10 * factor + dim.charAt(digits++) - '0';
        }
        if (digits == dim.length()) { // a number alone
            if (length != factor) {
                throw new IllegalArgumentException(operation + ": " + operand.name() + " is "
                        + operand.tensor().shape() + "; it has to be (" + String.join(", ", operand.dims()) + ").");
            }
            return;
        }
        String name = dim.substring(digits);
        long each = digits == 0 ? length : length % factor == 0 ? length / factor : -1;
        Bound before = bound.putIfAbsent(name, new Bound(each, operand));
        if (each < 0 || before != null && before.length() != each) {
            throw new IllegalArgumentException(operation + ": " + operand.name() + " is "
                    + operand.tensor().shape()
                    + (before == null
                            ? "; it has to be (" + String.join(", ", operand.dims()) + ")."
                            : ", " + before.by().name() + " is "
                                    + before.by().tensor().shape() + "; " + dims(operand) + " and " + dims(before.by())
                                    + " are wanted."));
        }
    }

    private static String dims(Operand operand) {
        return "(" + String.join(", ", operand.dims()) + ")";
    }

    /**
     * Compares the operands with each other.
     *
     * @throws IllegalArgumentException that says which two do not go together: an operand that is written may not share
     *     memory with another, unless the operation allows them to be the same, and all lie on one device
     */
    void check() {
        List<Operand> operands = list();
        for (int i = 0; i < operands.size(); i++) {
            Operand operand = operands.get(i);
            for (int j = 0; j < i; j++) {
                Operand other = operands.get(j);
                checkDevice(operand, other);
                if (operand.access() != Access.READ || other.access() != Access.READ) {
                    checkOverlap(operand, other);
                }
            }
        }
    }

    private void checkDevice(Operand operand, Operand other) {
        Object device = operand.tensor().storage().device();
        Object otherDevice = other.tensor().storage().device();
        if (!device.equals(otherDevice)) {
            throw new IllegalArgumentException(operation + ": " + operand.name() + " lies on " + device + ", "
                    + other.name() + " on " + otherDevice + "; allocate both in arenas of one backend.");
        }
    }

    private void checkOverlap(Operand operand, Operand other) {
        Tensor one = operand.tensor();
        Tensor two = other.tensor();
        boolean allowed = one.offset() == two.offset()
                && (operand.over().contains(other.name()) || other.over().contains(operand.name()));
        if (one.overlaps(two) && !allowed) {
            throw new IllegalArgumentException(operation + ": " + operand.name() + " and " + other.name()
                    + " share memory; give them tensors of their own.");
        }
    }
}
