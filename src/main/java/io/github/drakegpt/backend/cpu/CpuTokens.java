package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;
import static io.github.drakegpt.backend.cpu.HeapStorage.zero;

import io.github.drakegpt.ops.AppendOp;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Philox;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.SampleOp;
import io.github.drakegpt.tensor.Tensor;

/** Operations on tokens: drawing batches, embeddings, sampling. */
final class CpuTokens {
    private CpuTokens() {}

    /**
     * The token of a row.
     *
     * @throws IllegalArgumentException if it is outside the vocabulary
     */
    static int token(Tensor tokens, int row, int vocabSize) {
        int token = ints(tokens)[start(tokens) + row];
        if (token < 0 || token >= vocabSize) {
            throw new IllegalArgumentException("Token " + token + " in row " + row + " is not in the vocabulary of "
                    + vocabSize + " tokens; give ids from 0 to " + (vocabSize - 1) + ".");
        }
        return token;
    }

    static void embedding(EmbeddingOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        int first = pass.cached() ? number(op.position()) : 0;
        float[] outs = floats(op.out());
        for (int r = 0; r < rows; r++) {
            int token = token(op.tokens(), r, op.vocabSize());
            int o = start(op.out()) + r * c;
            System.arraycopy(floats(op.wte()), start(op.wte()) + token * c, outs, o, c);
            if (op.wpe() != null) {
                int position = first + r % pass.length();
                VectorMath.add(outs, o, floats(op.wpe()), start(op.wpe()) + position * c, c);
            }
        }
    }

    static void embeddingGrad(EmbeddingGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] douts = floats(op.dout());
        zero(op.dwte(), (int) op.dwte().size());
        if (op.dwpe() != null) {
            zero(op.dwpe(), (int) op.dwpe().size());
        }
        for (int r = 0; r < rows; r++) {
            int token = token(op.tokens(), r, op.vocabSize());
            int o = start(op.dout()) + r * c;
            VectorMath.add(floats(op.dwte()), start(op.dwte()) + token * c, douts, o, c);
            if (op.dwpe() != null) {
                VectorMath.add(floats(op.dwpe()), start(op.dwpe()) + r % pass.length() * c, douts, o, c);
            }
        }
    }

    private static int number(Tensor i32) {
        return ints(i32)[start(i32)];
    }

    static void gatherBatch(GatherBatchOp op, Pass pass) {
        op.rows(pass);
        int t = pass.length();
        char[] tokens = HeapStorage.chars(op.corpus());
        int[] xs = ints(op.x());
        int[] ys = ints(op.y());
        int places = (int) op.corpus().size() - t;
        RandomStream stream = op.stream();
        int step = number(stream.step());
        Scratch scratch = Scratch.get();
        int[] words = scratch.ints(0, 4);
        for (int b = 0; b < pass.batch(); b++) {
            long index = pass.firstSequence() + b;
            Philox.fill(stream.seed(), stream.purpose(), step, index >>> 2, 1, scratch.lanes(), words);
            int from = start(op.corpus()) + Philox.below(words[(int) (index & 3)], places);
            for (int i = 0; i < t; i++) {
                xs[start(op.x()) + b * t + i] = tokens[from + i];
                ys[start(op.y()) + b * t + i] = tokens[from + i + 1];
            }
        }
    }

    static void sample(SampleOp op, Pass pass) {
        op.rows(pass);
        int v = op.vocabSize();
        RandomStream stream = op.stream();
        int step = number(stream.step());
        CpuSampler sampler = Scratch.get().sampler();
        long first = op.firstSequence() == null ? 0 : number(op.firstSequence());
        for (int b = 0; b < pass.batch(); b++) {
            float u = Philox.uniform(Philox.word(stream.seed(), stream.purpose(), step, first + b));
            int row = start(op.logits()) + ((b + 1) * pass.length() - 1) * v;
            ints(op.tokens())[start(op.tokens()) + b] = sampler.draw(floats(op.logits()), row, v, op.sampling(), u);
        }
    }

    static void append(AppendOp op, Pass pass) {
        op.rows(pass);
        int t = pass.length();
        int[] windows = ints(op.tokens());
        for (int b = 0; b < pass.batch(); b++) {
            int o = start(op.tokens()) + b * t;
            System.arraycopy(windows, o + 1, windows, o, t - 1);
            windows[o + t - 1] = ints(op.next())[start(op.next()) + b];
        }
    }
}
