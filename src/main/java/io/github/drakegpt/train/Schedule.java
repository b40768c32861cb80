package io.github.drakegpt.train;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Schedules of the learning rate. */
public enum Schedule {
    /**
     * A triangle between base_lr and max_lr whose flanks take step_size_up evaluations each; the rate changes only at
     * evaluations. PyTorch's CyclicLR, mode "triangular" (Smith, "Cyclical Learning Rates for Training Neural
     * Networks", 2017), stepped as DrakeGPT does.
     */
    @JsonProperty("cyclic")
    CYCLIC {
        @Override
        double learningRate(TrainConfig config, int step) {
            int evaluations = (step - 1) / config.evalInterval();
            double position = (double) evaluations / config.stepSizeUp();
            double cycle = Math.floor(1 + position / 2);
            double fraction = Math.max(0, 1 - Math.abs(position - 2 * cycle + 1));
            return config.baseLr() + (config.maxLr() - config.baseLr()) * fraction;
        }
    },
    /**
     * Linearly up to max_lr over warmup_iters, then half a cosine down to base_lr at the last iteration (Loshchilov and
     * Hutter, "SGDR", 2017, without restarts).
     */
    @JsonProperty("cosine")
    COSINE {
        @Override
        double learningRate(TrainConfig config, int step) {
            if (step <= config.warmupIters()) {
                return config.maxLr() * step / config.warmupIters();
            }
            double progress =
                    (double) (step - config.warmupIters()) / Math.max(1, config.iters() - config.warmupIters());
            double cosine = 0.5 * (1 + StrictMath.cos(Math.PI * Math.min(1, progress)));
            return config.baseLr() + (config.maxLr() - config.baseLr()) * cosine;
        }
    },
    /**
     * The schedule of the authors of BitNet b1.58: linearly up to max_lr over warmup_iters; in the first half of the
     * iterations max_lr times the share of them that is left, in the second base_lr times that and no weight decay
     * ("The Era of 1-bit LLMs: Training Tips, Code and FAQ", 2024, figure 1 and tables 1 and 2).
     */
    @JsonProperty("bitnet")
    BITNET {
        @Override
        double learningRate(TrainConfig config, int step) {
            double peak = secondHalf(config, step) ? config.baseLr() : config.maxLr();
            double warmup = step < config.warmupIters() ? (double) step / config.warmupIters() : 1;
            return peak * warmup * Math.max(0, 1 - (step - 1.0) / config.iters());
        }

        @Override
        boolean decays(TrainConfig config, int step) {
            return !secondHalf(config, step);
        }

        private static boolean secondHalf(TrainConfig config, int step) {
            return step > config.iters() / 2;
        }
    };

    /** The rate of a step, counted from 1. */
    abstract double learningRate(TrainConfig config, int step);

    /** Whether weights decay in a step. */
    boolean decays(TrainConfig config, int step) {
        return true;
    }
}
