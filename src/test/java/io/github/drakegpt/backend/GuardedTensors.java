package io.github.drakegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.ops.Access;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.Operand;
import io.github.drakegpt.ops.Operand.Extent;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Tensors for the operands of operations, each in the middle of a larger one, and a way to run an operation that asks its
 * own list of operands what it may do: what it reads stays as it is, what it writes is written whole, and nothing beside or
 * behind either is touched. What no operation should read is NaN: what lies around an operand, rows beyond those of the
 * pass, and an output before it is written.
 */
public final class GuardedTensors {
    /** Elements before a tensor, so that it begins at no multiple of 16 bytes. */
    private static final int ODD = 7;
    /** So that it begins at one, if the memory does: there a GPU reads and writes 16 bytes at a time. */
    private static final int ALIGNED = 16;

    private static final int AFTER = 5;
    /** Rows, or sequences, that an operand has beyond those of the pass. */
    private static final int SPARE = 3;
    /** A NaN that no arithmetic makes. */
    private static final float POISON = Float.intBitsToFloat(0x7fe5a5a5);

    private final Backend backend;
    private final Arena arena;
    private final int before;
    private final int spare;
    private final Map<Tensor, Tensor> wholes = new IdentityHashMap<>();

    /** @param aligned whether tensors begin at multiples of 16 bytes */
    public GuardedTensors(Backend backend, Arena arena, boolean aligned) {
        this(backend, arena, aligned ? ALIGNED : ODD, SPARE);
    }

    private GuardedTensors(Backend backend, Arena arena, int before, int spare) {
        this.backend = backend;
        this.arena = arena;
        this.before = before;
        this.spare = spare;
    }

    /** Operands of exactly the rows of the pass: on SIMT, reading one row too many leaves the allocation and fails. */
    public GuardedTensors withoutSpareRows() {
        return new GuardedTensors(backend, arena, before, 0);
    }

    // ---------------------------------------------------------------------------------------------- making

    /** F32 of exactly these values. */
    public Tensor of(float[] values, int... dims) {
        return of(DType.F32, values, dims);
    }

    /** F32 or BF16 of exactly these values. */
    public Tensor of(DType dtype, float[] values, int... dims) {
        Tensor tensor = guarded(dtype, Shape.of(dims));
        tensor.write(values);
        return tensor;
    }

    /** An F32 output of exactly this shape. */
    public Tensor output(int... dims) {
        return output(DType.F32, dims);
    }

    /** The same of any type. */
    public Tensor output(DType dtype, int... dims) {
        return guarded(dtype, Shape.of(dims));
    }

    /** F32 rows of these values, and behind them some that no operation may touch. */
    public Tensor rows(float[] values, int rows, int c) {
        return rows(DType.F32, values, rows, c);
    }

    /** The same of F32 or BF16. */
    public Tensor rows(DType dtype, float[] values, int rows, int c) {
        Tensor tensor = outputRows(dtype, rows, c);
        tensor.write(values);
        return tensor;
    }

    /** An F32 output of rows, and behind them some that no operation may touch. */
    public Tensor outputRows(int rows, int c) {
        return outputRows(DType.F32, rows, c);
    }

    /** The same of any type. */
    public Tensor outputRows(DType dtype, int rows, int c) {
        return guarded(dtype, Shape.of(rows + spare, c));
    }

    /** I32 of exactly these values. */
    public Tensor ints(int... values) {
        Tensor tensor = guarded(DType.I32, Shape.of(values.length));
        tensor.write(values);
        return tensor;
    }

    /** I32 of these values, one for each row, and behind them some that no operation may touch. */
    public Tensor intRows(int... values) {
        Tensor tensor = guarded(DType.I32, Shape.of(values.length + spare));
        tensor.write(values);
        return tensor;
    }

    /** Room for rows of c elements rounded to 8 bits, and behind them some that no operation may touch. */
    public Int8Rows int8Rows(Quantization quantization, int rows, int c) {
        return new Int8Rows(
                outputRows(DType.I8, rows, PackedMatrix.paddedColumns(quantization, c)),
                output(DType.F32, rows + spare),
                output(DType.I32, rows + spare));
    }

    /** U16 of exactly these values. */
    public Tensor corpus(int... tokens) {
        char[] chars = new char[tokens.length];
        IntStream.range(0, tokens.length).forEach(i -> chars[i] = (char) tokens[i]);
        Tensor tensor =
                arena.allocate(DType.U16, Shape.of(chars.length + before)).slice(before, Shape.of(chars.length));
        tensor.write(chars);
        return tensor;
    }

    private Tensor guarded(DType dtype, Shape shape) {
        int n = Math.toIntExact(shape.size());
        int start = start(dtype);
        Tensor whole = arena.allocate(dtype, Shape.of(start + n + AFTER));
        poison(whole);
        Tensor tensor = whole.slice(start, shape);
        wholes.put(tensor, whole);
        return tensor;
    }

    /** Rows of 8 bits and packed codes begin at multiples of 16 bytes wherever the others do. */
    private int start(DType dtype) {
        return dtype == DType.I8 ? ALIGNED : before;
    }

    private static void poison(Tensor tensor) {
        int n = Math.toIntExact(tensor.size());
        switch (tensor.dtype()) {
            case F32, BF16 -> {
                float[] values = new float[n];
                Arrays.fill(values, POISON);
                tensor.write(values);
            }
            case I32 ->
                tensor.write(IntStream.generate(() -> 0x5a5a5a5a).limit(n).toArray());
            case I8 -> {
                byte[] values = new byte[n];
                Arrays.fill(values, (byte) 0x5a);
                tensor.write(values);
            }
            case U16 -> throw new IllegalArgumentException("no operation writes U16");
        }
    }

    // ---------------------------------------------------------------------------------------------- running

    /** Runs an operation that has no rows, as below. */
    public void run(Operation operation) {
        run(operation, Pass.evaluation(0, 0));
    }

    /** Runs an operation, and fails if it does anything else than its operands say. */
    public void run(Operation operation, Pass pass) {
        run(operation, pass, () -> operation.run(backend, pass));
    }

    /** The same in another way, such as from a recording. */
    public void run(Operation operation, Pass pass, Runnable way) {
        List<Operand> operands = operation.operands().list();
        for (Operand operand : operands) {
            if (operand.access() == Access.WRITE && isApart(operand, operands)) {
                poison(used(operand, pass));
            }
        }
        Map<Operand, int[]> old = new HashMap<>();
        operands.forEach(operand -> old.put(operand, bits(whole(operand))));

        way.run();

        for (Operand operand : operands) {
            int[] is = bits(whole(operand));
            int[] was = old.get(operand);
            int from = wholes.containsKey(operand.tensor())
                    ? start(operand.tensor().dtype())
                    : 0;
            int to = from + Math.toIntExact(used(operand, pass).size());
            String name = operation.operands().operation() + ": " + operand.name();
            boolean changes = !isOnlyRead(operand, operands);
            if (changes && operand.access() == Access.WRITE && isApart(operand, operands) && isFloat(operand)) {
                for (int i = from; i < to; i++) {
                    assertThat(is[i] == was[i] && was[i] == Float.floatToRawIntBits(POISON))
                            .as("%s is written at element %d", name, i - from)
                            .isFalse();
                }
            }
            if (changes) {
                System.arraycopy(was, from, is, from, to - from);
            }
            assertThat(is)
                    .as("what lies %s %s", changes ? "around" : "in and around", name)
                    .isEqualTo(was);
        }
    }

    private static boolean isFloat(Operand operand) {
        return operand.tensor().dtype() == DType.F32; // any NaN is the poison's in BF16
    }

    /** Whether no other operand is the same memory. */
    private static boolean isApart(Operand operand, List<Operand> operands) {
        return operands.stream().filter(other -> overlap(operand, other)).count() == 1;
    }

    private static boolean isOnlyRead(Operand operand, List<Operand> operands) {
        return operands.stream()
                .filter(other -> overlap(operand, other))
                .allMatch(other -> other.access() == Access.READ);
    }

    private static boolean overlap(Operand one, Operand two) {
        return one.tensor().storage() == two.tensor().storage()
                && one.tensor().offset() == two.tensor().offset();
    }

    private Tensor whole(Operand operand) {
        return wholes.getOrDefault(operand.tensor(), operand.tensor());
    }

    /** What the pass uses of an operand. */
    private static Tensor used(Operand operand, Pass pass) {
        return operand.extent() == Extent.WHOLE || operand.extent() == Extent.SUM
                ? operand.tensor()
                : operand.tensor().slice(0, Shape.of(Math.toIntExact(operand.elements(pass))));
    }

    private static int[] bits(Tensor tensor) {
        return switch (tensor.dtype()) {
            case F32, BF16 -> {
                float[] values = tensor.toFloats();
                yield IntStream.range(0, values.length)
                        .map(i -> Float.floatToRawIntBits(values[i]))
                        .toArray();
            }
            case I32 -> tensor.toInts();
            case I8 -> {
                byte[] values = tensor.toBytes();
                yield IntStream.range(0, values.length).map(i -> values[i]).toArray();
            }
            case U16 -> new int[(int) tensor.size()]; // cannot be read, and no operation writes it
        };
    }

    // ---------------------------------------------------------------------------------------------- reading

    /** The first elements of a tensor of F32 or BF16. */
    public static float[] read(Tensor tensor, int n) {
        float[] values = new float[n];
        tensor.read(values);
        return values;
    }

    /** The first elements of a tensor of I32. */
    public static int[] readInts(Tensor tensor, int n) {
        int[] values = new int[n];
        tensor.read(values);
        return values;
    }
}
