package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.Sampling;
import java.util.Arrays;

/** Draws a token from a row of logits, in float64. Keeps its arrays between draws; for one thread at a time, {@link Scratch#sampler}. */
final class CpuSampler {
    /** Ids occupy the lowest 16 bits of a sort key, enough for every vocabulary. */
    private static final int TIE_RANGE = 1 << 16;

    private double[] weights = new double[0];
    private long[] order = new long[0];

    /** @param u uniform in [0, 1) */
    int draw(float[] logits, int o, int v, Sampling sampling, float u) {
        int best = 0;
        for (int i = 1; i < v; i++) {
            best = logits[o + i] > logits[o + best] ? i : best;
        }
        if (sampling.temperature() == 0) {
            return best;
        }
        if (weights.length < v) {
            weights = new double[v];
            order = new long[v];
        }
        double total = 0;
        for (int i = 0; i < v; i++) {
            weights[i] = Math.exp(((double) logits[o + i] - logits[o + best]) / sampling.temperature());
            total += weights[i];
        }
        if (sampling.topK() > 0 || sampling.topP() < 1) {
            total = keepMostLikely(v, sampling, total);
        }
        double left = u * total;
        int last = best;
        for (int i = 0; i < v; i++) {
            if (weights[i] > 0) {
                last = i;
                left -= weights[i];
                if (left < 0) {
                    return i;
                }
            }
        }
        return last; // rounding: the weights add up to a little less than their total
    }

    /** Zeroes the weights outside top-k, then those outside top-p of the rest, and returns the sum of the others. */
    private double keepMostLikely(int v, Sampling sampling, double total) {
        for (int i = 0; i < v; i++) {
            // positive doubles sort as their bits do; ties fall to the lower id
            order[i] = Double.doubleToRawLongBits(weights[i]) & -(long) TIE_RANGE | TIE_RANGE - 1 - i;
        }
        Arrays.sort(order, 0, v);
        int kept = sampling.topK() > 0 ? Math.min(sampling.topK(), v) : v;
        double inTopK = kept == v ? total : 0;
        for (int rank = 0; rank < kept && kept < v; rank++) {
            inTopK += weights[token(v, rank)];
        }
        double sum = 0;
        int rank = 0;
        while (rank < kept && (rank == 0 || sum < sampling.topP() * inTopK)) {
            sum += weights[token(v, rank)];
            rank++;
        }
        for (; rank < v; rank++) {
            weights[token(v, rank)] = 0;
        }
        return sum;
    }

    /** The token of the given rank, 0 the most likely, once {@link #order} is sorted. */
    private int token(int v, int rank) {
        return TIE_RANGE - 1 - (int) (order[v - 1 - rank] & TIE_RANGE - 1);
    }
}
