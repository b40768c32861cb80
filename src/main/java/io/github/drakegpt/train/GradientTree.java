package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Adds up the gradients of a step's shards as a binary tree: those of the first half, those of the second, and the two sums.
 * The bits depend on the number of shards alone: not on how many of them are computed concurrently, nor on how many
 * processes share them, of which each has a subtree.
 *
 * <p>Replicas compute shards in rounds; sums that have to wait for a later round get buffers of their own, one for each
 * level of the tree at most.
 */
final class GradientTree {
    private final Tensor[] replicas;
    private final Supplier<Tensor> newBuffer;
    private final Map<Integer, Tensor> buffers = new HashMap<>(); // by level
    private final List<List<SumOp>> rounds = new ArrayList<>();

    /**
     * @param shards of which shard i is computed by replica i modulo their number
     * @param replicas the gradient of each, (P); those of a round are overwritten in the next
     * @param grads (P): receives the sum
     * @param newBuffer allocates a tensor (P)
     */
    GradientTree(int shards, List<Tensor> replicas, Tensor grads, Supplier<Tensor> newBuffer) {
        this.replicas = replicas.toArray(Tensor[]::new);
        this.newBuffer = newBuffer;
        for (int i = 0; i <= round(shards - 1); i++) {
            rounds.add(new ArrayList<>());
        }
        sum(0, shards, grads, 0);
    }

    private int round(int shard) {
        return shard / replicas.length;
    }

    /**
     * Adds the shards {@code from} to {@code to} - 1.
     *
     * @param target receives their sum; null if that is not needed after the round of the last one
     * @return where the sum is
     */
    private Tensor sum(int from, int to, Tensor target, int level) {
        List<SumOp> last = rounds.get(round(to - 1));
        if (to - from == 1) {
            Tensor shard = replicas[from % replicas.length];
            if (target == null) {
                return shard;
            }
            last.add(new SumOp(List.of(shard), false, target));
            return target;
        }
        int middle = (from + to) / 2;
        if (round(from) == round(to - 1)) { // both in the buffers of replicas
            Tensor left = sum(from, middle, null, level + 1);
            Tensor right = sum(middle, to, null, level + 1);
            last.add(
                    target == null
                            ? new SumOp(List.of(right), true, left)
                            : new SumOp(List.of(left, right), false, target));
            return target == null ? left : target;
        }
        Tensor kept = target != null ? target : buffers.computeIfAbsent(level, l -> newBuffer.get());
        sum(from, middle, kept, level + 1);
        last.add(new SumOp(List.of(sum(middle, to, null, level + 1)), true, kept));
        return kept;
    }

    /** Adds what a round has computed. */
    void add(Backend backend, int round) {
        for (SumOp op : rounds.get(round)) {
            backend.sum(op);
        }
    }
}
