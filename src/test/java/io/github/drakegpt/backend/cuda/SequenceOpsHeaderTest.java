package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.nn.MeasuringArena;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operand;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * {@code sequence.cu} knows kinds of operations, their operands and sizes, and the bytes of an operation by a header that is
 * made here, of {@link SequenceOp} and the operations' records. {@code mvn test-compile surefire:test@default-test -Dtest=SequenceOpsHeaderTest -Dsequence.header.write=true} writes it.
 */
class SequenceOpsHeaderTest {
    private static final Path HEADER = Path.of("kernels/common/sequence_ops.cuh");

    private final Arena arena = new MeasuringArena();

    @Test
    void theHeaderIsThatOfTheOperations() throws IOException {
        if (Boolean.getBoolean("sequence.header.write")) {
            Files.writeString(HEADER, header());
        }
        assertThat(Files.readString(HEADER)).isEqualTo(header());
    }

    @Test
    void allFitsTheBytesOfAnOperation() {
        assertThat(examples())
                .allSatisfy(example -> assertThat(operands(example)).hasSizeLessThan(SequenceProgram.POINTERS));
        assertThat(SequenceOp.Kind.values())
                .allSatisfy(kind -> assertThat(kind.sizes).hasSizeLessThanOrEqualTo(SequenceProgram.SIZES));
    }

    private Tensor f32(int... dims) {
        return arena.allocate(DType.F32, Shape.of(dims));
    }

    private Tensor i32(int... dims) {
        return arena.allocate(DType.I32, Shape.of(dims));
    }

    /** An operation of each kind, with all its operands. */
    private List<Operation> examples() {
        ResidualOp residual = new ResidualOp(f32(2, 4), f32(2, 4), f32(4), null, f32(2, 4));
        ResidualGradOp residualGrad = new ResidualGradOp(f32(2, 4), null, f32(2, 4), f32(4));
        LayerNormOp layerNorm = new LayerNormOp(residual, residual.sum(), f32(4), f32(4), f32(2, 4), f32(2, 2), null);
        AttentionOp attention = new AttentionOp(f32(2, 12), f32(2, 4), f32(2, 4), null, 2);
        return List.of(
                new GatherBatchOp(
                        arena.allocate(DType.U16, Shape.of(9)), new RandomStream(1, 2, i32(1)), i32(2), i32(2)),
                new EmbeddingOp(i32(2), f32(3, 4), f32(5, 4), i32(1), f32(2, 4)),
                new EmbeddingGradOp(i32(2), f32(2, 4), f32(3, 4), f32(5, 4)),
                new ZeroOp(f32(2, 4)),
                new ReluGradOp(f32(2, 4), f32(2, 4), f32(4)),
                residual,
                residualGrad,
                layerNorm,
                new LayerNormGradOp(layerNorm, f32(2, 4), residualGrad.dsum(), f32(4), f32(4), residualGrad),
                new LinearOp(f32(2, 4), f32(3, 4), f32(3), true, f32(2, 3)),
                new LinearGradOp(f32(2, 4), f32(3, 4), f32(2, 3), f32(2, 4), f32(3, 4), f32(3)),
                attention,
                new AttentionCachedOp(f32(2, 12), f32(2, 5, 8), i32(1), f32(2, 4), 2),
                new AttentionGradOp(attention, f32(2, 4), f32(2, 12)),
                new CrossEntropyOp(f32(2, 3), i32(2), f32(1), f32(2, 3), 1));
    }

    private static List<String> operands(Operation operation) {
        return operation.operands().list().stream()
                .map(Operand::name)
                .filter(name -> !name.equals(SequenceOp.STEP))
                .map(name -> name.replace('.', '_').toUpperCase(Locale.ROOT))
                .toList();
    }

    private String header() {
        StringBuilder header = new StringBuilder("""
                // The operations that sequence.cu interprets, as SequenceProgram.java writes them. Made by SequenceOpsHeaderTest: do not edit.
                #pragma once

                """);
        header.append("enum Kind : int { ")
                .append(Arrays.stream(SequenceOp.Kind.values()).map(Enum::name).collect(Collectors.joining(", ")))
                .append(" };\n\n// Of each kind: the places of its operands among the pointers, and of its sizes.\n");
        for (Operation example : examples()) {
            SequenceOp.Kind kind = SequenceOp.Kind.of(example).orElseThrow();
            header.append("struct ")
                    .append(Stream.of(kind.name().split("_"))
                            .map(word -> word.charAt(0) + word.substring(1).toLowerCase(Locale.ROOT))
                            .collect(Collectors.joining()))
                    .append("Op {\n    enum Operands : int { ")
                    .append(String.join(", ", operands(example)))
                    .append(" };\n    enum Sizes : int { ")
                    .append(String.join(", ", kind.sizes).toUpperCase(Locale.ROOT))
                    .append(" };\n};\n");
        }
        header.append("""

                // An operation. Tensors of which each sequence has a part begin with that of block 0.
                struct alignas(16) OperationWords {
                    void* pointers[%d];  // to the operands; the last one: to the step of a stream of random numbers
                    int places[%d];      // of the sequence's rows in shared memory: stride << 16 | offset / 4, or -1 where they have none
                    unsigned long long seed;
                    long long first;  // sequence, or row, of the whole batch
                    Kind kind;
                    int purpose;
                    int threshold;
                    float scale;
                    int sizes[%d];
                    float number;
                };
                static_assert(sizeof(OperationWords) == %d, "as many bytes are written");
                """.formatted(
                        SequenceProgram.POINTERS,
                        SequenceProgram.POINTERS,
                        SequenceProgram.SIZES,
                        SequenceProgram.OPERATION_BYTES));
        return header.toString();
    }
}
