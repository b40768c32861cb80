package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.NULL;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;
import static io.github.drakegpt.backend.cuda.Arguments.pointers;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.tensor.DType;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Operations on flat buffers: the optimizer's, clearing, copying, counting and summing. */
final class OptimizerKernels {
    private final Launcher launcher;
    private final CudaContext context;

    OptimizerKernels(Launcher launcher, CudaContext context) {
        this.launcher = launcher;
        this.context = context;
    }

    void zero(ZeroOp op, Pass pass) {
        long n = (long) op.rows(pass) * op.columns();
        context.zero(pointer(op.x()), n * op.x().dtype().bytes());
    }

    void copy(CopyOp op) {
        CUdeviceptr source = pointer(op.source());
        CUdeviceptr target = pointer(op.target());
        DType from = op.source().dtype();
        int n = Math.toIntExact(op.source().size());
        if (from == op.target().dtype()) {
            context.copy(target, source, (long) n * from.bytes());
        } else {
            String kernel = from == DType.F32 ? "f32_to_bf16" : "bf16_to_f32";
            launcher.launch("cast", kernel, Grid.of(n, FloatType.BF16.pack()), source, target, n);
        }
    }

    void increment(IncrementOp op) {
        launcher.launch("increment", "increment", new Grid(1, 1, 1, 1), pointer(op.counter()));
    }

    void sum(SumOp op) {
        int n = Math.toIntExact(op.sum().size());
        for (int i = 0; i < op.parts().size(); i++) {
            int add = op.add() || i > 0 ? 1 : 0;
            Object[] operands = pointers(op.parts().get(i), op.sum());
            launcher.launch("sum", "add_f32", Grid.of(n, Launcher.PACK), operands, n, add);
        }
    }

    void gradNorm(GradNormOp op) {
        int n = Math.toIntExact(op.x().size());
        int parts = Math.min(Launcher.MOST_PARTS, Grid.blocks(n, Launcher.ROW_THREADS * Launcher.PACK));
        CUdeviceptr squares = launcher.scratch((long) parts * Float.BYTES);
        Grid grid = new Grid(parts, 1, Launcher.ROW_THREADS, 1);
        launcher.launch("adamw", "squares_f32", grid, pointer(op.x()), squares, n);
        launcher.launch("adamw", "root_f32", new Grid(1, 1, Launcher.WARP, 1), squares, pointer(op.norm()), parts);
    }

    void adamW(AdamWOp op) {
        int n = op.size();
        AdamWOp.State state = op.state();
        Pointer matmulWeights = state.rounds() ? pointer(state.matmulWeights()) : NULL;
        launcher.launch(
                "adamw",
                "adamw_f32",
                Grid.of(n, Launcher.PACK),
                new Object[] {pointer(state.params()), matmulWeights},
                pointers(state.grads(), state.firstMoments(), state.secondMoments()),
                pointers(op.learningRate(), op.step(), op.gradNorm()),
                constants(op.settings()),
                n);
    }

    static Object[] constants(AdamWSettings settings) {
        return new Object[] {settings.beta1(), settings.beta2(), settings.eps(), settings.weightDecay(), settings.clip()
        };
    }
}
