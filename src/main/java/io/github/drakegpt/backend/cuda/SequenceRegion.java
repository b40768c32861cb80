package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.Operand;
import io.github.drakegpt.ops.Operand.Extent;
import io.github.drakegpt.ops.Operands;
import io.github.drakegpt.ops.OperationList;
import io.github.drakegpt.ops.OperationList.Call;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * Operations on each sequence of a pass alone, as defined by {@link io.github.drakegpt.backend.Backend#region}. Its
 * first run records them: segments that {@code sequence.cu} supports, and where it is faster, become programs; the
 * others are launched one by one.
 */
final class SequenceRegion implements Runnable, AutoCloseable {
    private final CudaBackend backend;
    private final SequenceCompiler compiler;
    private final Consumer<Operations> work;
    private List<Runnable> parts; // null before the first run
    private final List<SequenceProgram> programs = new ArrayList<>();

    SequenceRegion(CudaBackend backend, SequenceCompiler compiler, Consumer<Operations> work) {
        this.backend = backend;
        this.compiler = compiler;
        this.work = work;
    }

    /**
     * Consecutive operations of one pass that can be one program.
     *
     * @param gradNorm of the gradients that they give, or null
     * @param adamW with these gradients, or null
     */
    record Segment(Pass pass, List<SequenceOp> operations, GradNormOp gradNorm, AdamWOp adamW) {}

    @Override
    public void run() {
        backend.context().exclusively(this::runAlone);
    }

    private void runAlone() {
        if (parts == null) {
            if (backend.context().capturing()) { // copying a program to the GPU is forbidden now
                work.accept(backend);
                return;
            }
            parts = compile();
        }
        parts.forEach(Runnable::run);
    }

    /** Number of its programs. */
    int programs() {
        return programs.size();
    }

    private List<Runnable> compile() {
        OperationList list = new OperationList();
        work.accept(list);
        List<Call> calls = list.calls();
        requireOnePass(calls);
        List<Runnable> compiled = new ArrayList<>();
        for (int from = 0; from < calls.size(); ) {
            List<SequenceOp> operations = new ArrayList<>();
            int to = from;
            for (; to < calls.size(); to++) {
                Optional<SequenceOp> next =
                        SequenceOp.of(calls.get(to).operation(), calls.get(to).pass());
                if (next.isEmpty()) {
                    break;
                }
                operations.add(next.get());
            }
            if (operations.isEmpty()) {
                Call call = calls.get(from++);
                compiled.add(() -> call.run(backend));
                continue;
            }
            List<Call> segment = calls.subList(from, to);
            requireIndependent(segment);
            GradNormOp gradNorm = to < calls.size() ? gradNorm(calls.get(to), segment) : null;
            to += gradNorm == null ? 0 : 1;
            AdamWOp adamW = gradNorm != null && to < calls.size() ? adamW(calls.get(to), gradNorm) : null;
            to += adamW == null ? 0 : 1;
            List<Call> each = calls.subList(from, to);
            Optional<SequenceProgram> program =
                    compiler.compile(new Segment(segment.get(0).pass(), operations, gradNorm, adamW));
            program.ifPresent(programs::add);
            compiled.add(
                    program.<Runnable>map(one -> one::launch).orElse(() -> each.forEach(call -> call.run(backend))));
            from = to;
        }
        return compiled;
    }

    private static void requireOnePass(List<Call> calls) {
        List<Pass> passes = calls.stream()
                .map(Call::pass)
                .filter(pass -> pass != null)
                .distinct()
                .toList();
        if (passes.size() > 1) {
            throw new IllegalArgumentException("A region has operations of " + passes.get(0) + " and of "
                    + passes.get(1) + "; make a region for each pass.");
        }
    }

    /**
     * Throws if an operation reads a sum over the sequences, or if two operations assign different rows of a tensor to
     * a sequence, since those may belong to another block.
     */
    private static void requireIndependent(List<Call> calls) {
        List<Operand> before = new ArrayList<>(); // each part of a tensor once
        for (Call call : calls) {
            Operands operands = call.operation().operands();
            List<Operand> added = new ArrayList<>();
            for (Operand operand : operands.list()) {
                boolean known = false;
                for (Operand other : before) {
                    if (!operand.tensor().overlaps(other.tensor())) {
                        continue;
                    }
                    if (!isSame(operand, other)) {
                        throw new IllegalArgumentException("In a region, " + operands.operation() + " cannot take "
                                + operand.name() + " " + operand.tensor().shape()
                                + ", of which another operation takes other parts as " + other.name() + " "
                                + other.tensor().shape() + "; end the region before it.");
                    }
                    known |= operand.tensor().size() == other.tensor().size();
                }
                if (!known) {
                    added.add(operand);
                }
            }
            before.addAll(added);
        }
    }

    /**
     * Whether both assign the same part of a tensor to each sequence. False for sums, which may be written only once.
     */
    private static boolean isSame(Operand one, Operand two) {
        return one.tensor().offset() == two.tensor().offset()
                && one.extent() == two.extent()
                && one.each() == two.each()
                && one.extent() != Extent.SUM;
    }

    /** The call's norm, if it covers all gradients of the segment; else null. */
    private static GradNormOp gradNorm(Call call, List<Call> segment) {
        if (!(call.operation() instanceof GradNormOp op)) {
            return null;
        }
        List<Tensor> gradients = segment.stream()
                .filter(each -> SequenceOp.Kind.of(each.operation()).orElseThrow() != SequenceOp.Kind.CROSS_ENTROPY)
                .flatMap(each -> each.operation().operands().list().stream())
                .filter(operand -> operand.extent() == Extent.SUM)
                .map(Operand::tensor)
                .toList();
        Tensor x = op.x();
        boolean inside = gradients.stream()
                .allMatch(gradient -> gradient.storage() == x.storage()
                        && x.offset() <= gradient.offset()
                        && gradient.offset() + gradient.size() <= x.offset() + x.size());
        return !gradients.isEmpty() && inside ? op : null;
    }

    /** The call's step of AdamW, if it uses the gradients of the norm and rounds nothing; else null. */
    private static AdamWOp adamW(Call call, GradNormOp gradNorm) {
        return call.operation() instanceof AdamWOp op
                        && op.state().grads() == gradNorm.x()
                        && op.gradNorm() == gradNorm.norm()
                        && !op.state().rounds()
                ? op
                : null;
    }

    @Override
    public void close() {
        programs.forEach(SequenceProgram::close);
        programs.clear();
        parts = null;
    }
}
