package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.cuda.SequenceOperation.Operand;
import io.github.drakegpt.backend.cuda.SequenceOperation.Part;
import io.github.drakegpt.ops.AdamWSettings;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Operations one after another that each sequence of a batch can go through alone, as {@link SequenceOperation}s; and, behind
 * them, the norm of the gradients that they give and the step of AdamW with these.
 */
final class Stretch {
    private final List<SequenceOperation> operations = new ArrayList<>();
    private final List<Runnable> launches = new ArrayList<>();
    /** By address; no two overlap. */
    private final TreeMap<Long, Operand> tensors = new TreeMap<>();

    private final int batch;
    private final int length;
    private Norm norm;
    private AdamW adamW;

    /** The norm of n elements at {@code x}. */
    record Norm(long x, int n, long norm) {}

    /** A step of AdamW with the gradients whose norm was taken. */
    record AdamW(
            long params, long firstMoments, long secondMoments, long learningRate, long step, AdamWSettings settings) {}

    /** All that is done, to find it again: {@code norm} and {@code adamW} may be null. */
    record Work(List<SequenceOperation> operations, Norm norm, AdamW adamW) {
        int batch() {
            return operations.get(0).batch();
        }

        int length() {
            return operations.get(0).length();
        }

        Stream<Operand> operands() {
            return operations.stream().flatMap(operation -> operation.operands().stream());
        }

        /** The memory from the first to the last element that is added up: all whose norm is taken, or all that is written. */
        Range gradients() {
            if (norm != null) {
                return new Range(norm.x(), (long) norm.n() * Float.BYTES);
            }
            long from = Long.MAX_VALUE;
            long to = 0;
            for (Operand operand : (Iterable<Operand>) operands()::iterator) {
                if (operand.part() == Part.GRADIENT) {
                    from = Math.min(from, operand.address());
                    to = Math.max(to, operand.address() + operand.bytes());
                }
            }
            return to == 0 ? new Range(0, 0) : new Range(from, to - from);
        }
    }

    /** A part of the GPU's memory. */
    record Range(long address, long bytes) {}

    Stretch(int batch, int length) {
        this.batch = batch;
        this.length = length;
    }

    int batch() {
        return batch;
    }

    int length() {
        return length;
    }

    /**
     * Adds an operation, if every sequence can still go through all on its own: it must neither look at what another one's
     * rows became, nor at sums over the sequences.
     *
     * @param launch does the operation by itself
     * @return whether it was added; if not, nothing more can be
     */
    boolean add(SequenceOperation operation, Runnable launch) {
        if (norm != null || operation.batch() != batch || operation.length() != length) {
            return false;
        }
        for (Operand operand : operation.operands()) {
            if (!shares(operand)) {
                return false;
            }
        }
        if (!shares(operation.random().step())) {
            return false;
        }
        operations.add(operation);
        launches.add(launch);
        return true;
    }

    /** Whether a tensor is one that blocks share among them as they did before, or is apart from all of these. */
    private boolean shares(Operand operand) {
        if (operand.part() == Part.NONE) {
            return true;
        }
        Operand same = tensors.get(operand.address());
        if (same != null) {
            boolean summed = operand.part() == Part.GRADIENT || operand.part() == Part.LOSS;
            return !summed
                    && same.part() == operand.part()
                    && same.bytes() == operand.bytes()
                    && same.width() == operand.width();
        }
        Map.Entry<Long, Operand> below = tensors.lowerEntry(operand.address());
        Map.Entry<Long, Operand> above = tensors.higherEntry(operand.address());
        boolean apart = (below == null || below.getKey() + below.getValue().bytes() <= operand.address())
                && (above == null || operand.address() + operand.bytes() <= above.getKey());
        if (apart) {
            tensors.put(operand.address(), operand);
        }
        return apart;
    }

    /** Adds the norm of n elements, if all gradients of the stretch lie among these. */
    boolean addNorm(Norm wanted, Runnable launch) {
        boolean fits = norm == null
                && tensors.values().stream().anyMatch(tensor -> tensor.part() == Part.GRADIENT)
                && tensors.values().stream()
                        .filter(tensor -> tensor.part() == Part.GRADIENT)
                        .allMatch(tensor -> wanted.x() <= tensor.address()
                                && tensor.address() + tensor.bytes() <= wanted.x() + (long) wanted.n() * Float.BYTES);
        if (fits) {
            norm = wanted;
            launches.add(launch);
        }
        return fits;
    }

    /** Adds a step of AdamW with these gradients, if it is they whose norm was added. */
    boolean addAdamW(AdamW wanted, long grads, int n, long gradNorm, Runnable launch) {
        boolean fits = norm != null && adamW == null && norm.equals(new Norm(grads, n, gradNorm));
        if (fits) {
            adamW = wanted;
            launches.add(launch);
        }
        return fits;
    }

    Work work() {
        return new Work(List.copyOf(operations), norm, adamW);
    }

    /** Does all of it, one by one. */
    void launchEach() {
        launches.forEach(Runnable::run);
    }
}
