package io.github.drakegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Training allocates nothing once it runs: the garbage collector would otherwise take its share of every step. */
class AllocationTest {
    private static final int PASSES = 50;

    // attention of short and of long sequences works in two ways
    @ParameterizedTest
    @ValueSource(ints = {8, 40})
    void aPassAllocatesNothing(int context) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        assumeTrue(threads.isThreadAllocatedMemorySupported(), "this Java does not count allocations");
        threads.setThreadAllocatedMemoryEnabled(true);
        ModelConfig config = new ModelConfig(
                Models.TRANSFORMER, 80, context, 32, 32, 4, 3, 0.1f, true, Init.PYTORCH, Quantization.NONE, false);
        try (Backend backend = Backends.create("cpu", 1);
                Arena arena = backend.newArena()) {
            Tensor step = arena.allocate(DType.I32, Shape.of(1));
            Tensor loss = arena.allocate(DType.F32, Shape.of(1));
            LanguageModel model = LanguageModel.forTraining(
                    config, backend, arena, 4, new LayerContext.Training(42, step, null), null);
            CrossEntropyOp trainingLoss = model.trainingLoss(loss, 1);
            model.setWeights(model.parameters().initialValues(42));
            Pass pass = Pass.training(4, context, 0);
            for (int i = 0; i < PASSES; i++) {
                model.forwardBackward(backend, trainingLoss, pass);
            }
            long thread = Thread.currentThread().getId();
            long before = threads.getThreadAllocatedBytes(thread);
            for (int i = 0; i < PASSES; i++) {
                model.forwardBackward(backend, trainingLoss, pass);
            }
            long perPass = (threads.getThreadAllocatedBytes(thread) - before) / PASSES;
            assertThat(perPass).as("bytes a pass").isLessThan(1000);
        }
    }
}
