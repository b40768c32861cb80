package io.github.drakegpt.cli;

import java.util.Arrays;

/**
 * Times of training steps. An asynchronous device reports completion only now and then: the steps until then count with
 * their mean.
 */
final class StepTimes {
    /** Decay of an older step's weight in the moving average, for each step after it. */
    private static final double DECAY = 0.95;

    private double[] seconds = new double[1 << 10]; // per step
    private int[] steps = new int[1 << 10];
    private int size;
    private double average; // of the steps after the first, newer ones weighted more
    private double weight;

    /** @param total seconds of all {@code count} steps */
    void add(int count, double total) {
        if (size == seconds.length) {
            seconds = Arrays.copyOf(seconds, 2 * size);
            steps = Arrays.copyOf(steps, 2 * size);
        }
        seconds[size] = total / count;
        steps[size] = count;
        if (size > 0) { // not the first, which does one-time work
            double decay = Math.pow(DECAY, count);
            average = decay * average + (1 - decay) * seconds[size];
            weight = decay * weight + (1 - decay);
        }
        size++;
    }

    /** Moving average of the seconds of a step; the first step's while it is the only one; NaN before. */
    double average() {
        if (size == 0) {
            return Double.NaN;
        }
        return weight > 0 ? average / weight : seconds[0];
    }

    /** Mean seconds of a step. */
    double mean() {
        double total = 0;
        long count = 0;
        for (int i = 0; i < size; i++) {
            total += seconds[i] * steps[i];
            count += steps[i];
        }
        return total / count;
    }

    /** A percentile of the seconds of a step: this share of the steps takes no longer. */
    double percentile(double share) {
        Integer[] order = new Integer[size];
        Arrays.setAll(order, i -> i);
        Arrays.sort(order, (a, b) -> Double.compare(seconds[a], seconds[b]));
        long all = Arrays.stream(steps, 0, size).asLongStream().sum();
        long below = 0;
        for (int i : order) {
            below += steps[i];
            if (below >= share * all) {
                return seconds[i];
            }
        }
        return Double.NaN;
    }
}
