package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.ReferenceOperations.doubles;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.backend.ReferenceOperations;
import io.github.drakegpt.ops.Sampling;
import java.util.Arrays;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CpuSamplerTest {
    private static final float ALMOST_ONE = 1 - 0x1p-24f;
    /** Probabilities 0.2, 0.5, 0 and 0.3. */
    private static final float[] KNOWN = {
        (float) Math.log(0.2), (float) Math.log(0.5), Float.NEGATIVE_INFINITY, (float) Math.log(0.3)
    };

    private final CpuSampler sampler = new CpuSampler();

    @ParameterizedTest
    @CsvSource({"1,0,1", "0.5,0,1", "2,0,1", "1,4,1", "1,0,0.7", "1.5,6,0.8", "0.01,0,1", "100,0,1", "1,80,0.999"})
    void frequenciesFollowTheProbabilities(float temperature, int topK, float topP) {
        int draws = 20_000;
        int v = 80;
        Random random = new Random(7);
        float[] logits = new float[v];
        for (int i = 0; i < v; i++) {
            logits[i] = (float) (2 * random.nextGaussian());
        }
        Sampling sampling = new Sampling(temperature, topK, topP);
        double[] p = ReferenceOperations.probabilities(doubles(logits), sampling);
        int[] counts = new int[v];
        for (int i = 0; i < draws; i++) {
            counts[sampler.draw(logits, 0, v, sampling, random.nextFloat())]++;
        }
        double chiSquare = 0;
        int bins = 0;
        for (int i = 0; i < v; i++) {
            double expected = draws * p[i];
            double sigma = Math.sqrt(expected * (1 - p[i]));
            assertThat((double) counts[i])
                    .as("token %d", i)
                    .isBetween(expected - 5 * sigma - 1, expected + 5 * sigma + 1);
            if (p[i] == 0) {
                assertThat(counts[i]).as("token %d", i).isZero();
            }
            if (expected >= 5) {
                chiSquare += (counts[i] - expected) * (counts[i] - expected) / expected;
                bins++;
            }
        }
        // The mean of chi-square is at most the number of bins, its variance at most twice that.
        assertThat(chiSquare).isLessThan(bins + 5 * Math.sqrt(2.0 * bins));
    }

    @Test
    void temperatureZeroAndTopOneTakeTheMostLikely() {
        float[] logits = {-3, 1e30f, 5, 1e30f, Float.NEGATIVE_INFINITY};
        for (Sampling sampling : new Sampling[] {
            new Sampling(0, 0, 1), new Sampling(0, 3, 0.5f), new Sampling(1, 1, 1), new Sampling(1, 0, 1e-6f)
        }) {
            assertThat(reachable(logits, sampling)).as("%s", sampling).containsExactly(1); // of two the lower id
        }
        // As cold as a float can be, without dividing by zero: the two most likely are left.
        assertThat(reachable(logits, new Sampling(Float.MIN_VALUE, 0, 1))).containsExactly(1, 3);
    }

    @Test
    void topKKeepsTheMostLikelyAndBreaksTiesTowardsLowerIds() {
        float[] logits = {1, 3, 3, 3, 0};
        assertThat(reachable(logits, new Sampling(1, 1, 1))).containsExactly(1);
        assertThat(reachable(logits, new Sampling(1, 2, 1))).containsExactly(1, 2);
        assertThat(reachable(logits, new Sampling(1, 3, 1))).containsExactly(1, 2, 3);
        assertThat(reachable(logits, new Sampling(1, 4, 1))).containsExactly(0, 1, 2, 3);
        assertThat(reachable(logits, new Sampling(1, 5, 1))).containsExactly(0, 1, 2, 3, 4);
        assertThat(reachable(logits, new Sampling(1, 500, 1))).containsExactly(0, 1, 2, 3, 4);
        assertThat(reachable(logits, new Sampling(1, 0, 1))).containsExactly(0, 1, 2, 3, 4);
    }

    @Test
    void topPKeepsTheFewestThatReachIt() {
        assertThat(reachable(KNOWN, new Sampling(1, 0, 0.01f))).containsExactly(1);
        assertThat(reachable(KNOWN, new Sampling(1, 0, 0.49f))).containsExactly(1);
        assertThat(reachable(KNOWN, new Sampling(1, 0, 0.51f))).containsExactly(1, 3);
        assertThat(reachable(KNOWN, new Sampling(1, 0, 0.79f))).containsExactly(1, 3);
        assertThat(reachable(KNOWN, new Sampling(1, 0, 0.81f))).containsExactly(0, 1, 3);
        assertThat(reachable(KNOWN, new Sampling(1, 0, 1))).containsExactly(0, 1, 3);
        // Four equal ones, two of which are exactly half.
        assertThat(reachable(new float[4], new Sampling(1, 0, 0.5f))).containsExactly(0, 1);
        assertThat(reachable(new float[4], new Sampling(1, 0, 0.51f))).containsExactly(0, 1, 2);
    }

    @Test
    void topPCountsWithinTopK() {
        // Of the two most likely, 0.5 and 0.3, the first alone is 0.625.
        assertThat(reachable(KNOWN, new Sampling(1, 2, 0.6f))).containsExactly(1);
        assertThat(reachable(KNOWN, new Sampling(1, 2, 0.65f))).containsExactly(1, 3);
        assertThat(reachable(KNOWN, new Sampling(1, 2, 0.999f))).containsExactly(1, 3);
    }

    @Test
    void theBordersLieWhereTheProbabilitiesSay() {
        assertThat(sampler.draw(KNOWN, 0, 4, Sampling.PLAIN, 0)).isEqualTo(0);
        assertThat(sampler.draw(KNOWN, 0, 4, Sampling.PLAIN, 0.1999f)).isEqualTo(0);
        assertThat(sampler.draw(KNOWN, 0, 4, Sampling.PLAIN, 0.2001f)).isEqualTo(1);
        assertThat(sampler.draw(KNOWN, 0, 4, Sampling.PLAIN, 0.6999f)).isEqualTo(1);
        assertThat(sampler.draw(KNOWN, 0, 4, Sampling.PLAIN, 0.7001f)).isEqualTo(3);
        assertThat(sampler.draw(KNOWN, 0, 4, Sampling.PLAIN, ALMOST_ONE)).isEqualTo(3);
    }

    @Test
    void impossibleTokensAreNotDrawnAtTheEnds() {
        float[] logits = {Float.NEGATIVE_INFINITY, -1e30f, 0, 0, -1e30f, Float.NEGATIVE_INFINITY};
        for (Sampling sampling : new Sampling[] {Sampling.PLAIN, new Sampling(1, 6, 1), new Sampling(1, 5, 0.99f)}) {
            assertThat(sampler.draw(logits, 0, 6, sampling, 0)).isEqualTo(2);
            assertThat(sampler.draw(logits, 0, 6, sampling, ALMOST_ONE)).isEqualTo(3);
        }
        // Whose many weights add up to less than their total, rounded.
        float[] many = new float[1000];
        Arrays.fill(many, (float) Math.log(0.1));
        many[999] = -1e30f;
        assertThat(sampler.draw(many, 0, 1000, Sampling.PLAIN, ALMOST_ONE)).isEqualTo(998);
    }

    @Test
    void looksAtItsOwnRowOnlyAndForgetsTheOneBefore() {
        float[] logits = {9, 9, 1, 2, 3, 9, 9};
        assertThat(sampler.draw(logits, 2, 3, new Sampling(0, 0, 1), 0)).isEqualTo(2);
        reachable(new float[50], new Sampling(1, 40, 1)); // leaves long arrays behind
        Set<Integer> drawn = new TreeSet<>();
        for (int i = 0; i < 1000; i++) {
            drawn.add(sampler.draw(logits, 2, 3, new Sampling(1, 2, 1), i / 1000f));
        }
        assertThat(drawn).containsExactly(1, 2);
    }

    @Test
    void settingsOutOfRangeAreRefused() {
        for (float temperature : new float[] {-0.1f, Float.NaN, Float.POSITIVE_INFINITY}) {
            assertThatThrownBy(() -> new Sampling(temperature, 0, 1)).hasMessageContaining("temperature");
        }
        assertThatThrownBy(() -> new Sampling(1, -1, 1)).hasMessageContaining("top-k");
        for (float topP : new float[] {0, -1, 1.01f, Float.NaN}) {
            assertThatThrownBy(() -> new Sampling(1, 0, topP)).hasMessageContaining("top-p");
        }
    }

    private Set<Integer> reachable(float[] logits, Sampling sampling) {
        Set<Integer> drawn = new TreeSet<>();
        for (int i = 0; i < 5000; i++) {
            drawn.add(sampler.draw(logits, 0, logits.length, sampling, i / 5000f));
        }
        drawn.add(sampler.draw(logits, 0, logits.length, sampling, ALMOST_ONE));
        return drawn;
    }
}
