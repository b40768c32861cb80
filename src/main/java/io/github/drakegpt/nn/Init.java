package io.github.drakegpt.nn;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Initialization of weights. Layer norms begin with bias 0 and weight 1 in both. */
public enum Init {
    /** PyTorch's defaults: embeddings N(0, 1), weights and biases of linear layers U(-1/sqrt(in), 1/sqrt(in)). */
    @JsonProperty("pytorch")
    PYTORCH,
    /**
     * GPT-2's: everything N(0, 0.02), biases 0, and the layers that end a residual branch N(0, 0.02 / sqrt(2 L))
     * (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3).
     */
    @JsonProperty("gpt2")
    GPT2;

    private static final double GPT2_STD = 0.02;

    Distribution embedding() {
        return Distribution.normal(this == PYTORCH ? 1 : GPT2_STD);
    }

    Distribution weight(int in) {
        return this == PYTORCH ? Distribution.uniform(1 / Math.sqrt(in)) : Distribution.normal(GPT2_STD);
    }

    /** A weight whose output is added to the residual stream, to which each of {@code layers} layers adds twice. */
    Distribution residualWeight(int in, int layers) {
        return this == PYTORCH ? weight(in) : Distribution.normal(GPT2_STD / Math.sqrt(2 * layers));
    }

    Distribution bias(int in) {
        return this == PYTORCH ? Distribution.uniform(1 / Math.sqrt(in)) : Distribution.constant(0);
    }

    /** A distribution of initial values: {@code spread} is a standard deviation, a bound, or the value itself. */
    record Distribution(Kind kind, double spread) {
        enum Kind {
            NORMAL,
            UNIFORM,
            CONSTANT
        }

        static Distribution normal(double std) {
            return new Distribution(Kind.NORMAL, std);
        }

        static Distribution uniform(double bound) {
            return new Distribution(Kind.UNIFORM, bound);
        }

        static Distribution constant(double value) {
            return new Distribution(Kind.CONSTANT, value);
        }

        /** The value for two uniform numbers in [0, 1); normal ones by Box and Muller's transform. */
        float value(float u1, float u2) {
            return (float)
                    switch (kind) {
                        case NORMAL ->
                            spread * Math.sqrt(-2 * StrictMath.log(1 - u1)) * StrictMath.cos(2 * Math.PI * u2);
                        case UNIFORM -> spread * (2 * u1 - 1);
                        case CONSTANT -> spread;
                    };
        }
    }
}
