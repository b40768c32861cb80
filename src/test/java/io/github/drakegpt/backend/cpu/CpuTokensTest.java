package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tokens that the vocabulary does not have: elsewhere they would be read from other parameters. */
class CpuTokensTest {
    private static final int VOCAB_SIZE = 65;

    @ParameterizedTest
    @ValueSource(ints = {VOCAB_SIZE, -1, Integer.MAX_VALUE, Integer.MIN_VALUE})
    void areRefused(int token) {
        try (Backend backend = new CpuBackend(1);
                Arena arena = backend.newArena()) {
            Tensor tokens = arena.allocate(DType.I32, Shape.of(2, 3));
            tokens.write(0, 1, VOCAB_SIZE - 1, 3, token, 5);
            Tensor table = arena.allocate(DType.F32, Shape.of(VOCAB_SIZE, 8));
            Tensor rows = arena.allocate(DType.F32, Shape.of(2, 3, 8));
            Tensor logits = arena.allocate(DType.F32, Shape.of(2, 3, VOCAB_SIZE));
            Tensor loss = arena.allocate(DType.F32, Shape.of(1));
            for (Operation operation : List.of(
                    new EmbeddingOp(tokens, table, null, null, rows),
                    new EmbeddingGradOp(tokens, rows, table, null),
                    new CrossEntropyOp(logits, tokens, loss, null, 1))) {
                assertThatIllegalArgumentException()
                        .isThrownBy(() -> operation.run(backend, Pass.training(2, 3, 0)))
                        .withMessage("Token " + token + " in row 4 is not in the vocabulary of 65 tokens;"
                                + " give ids from 0 to 64.");
            }
        }
    }
}
