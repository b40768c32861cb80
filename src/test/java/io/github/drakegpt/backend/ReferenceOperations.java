package io.github.drakegpt.backend;

import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Sampling;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * The operations of {@link Backend} as their definitions say, in float64 and without a thought of speed: what every
 * backend is tested against. Arrays are row-major and exactly as large as their contents. Masks are factors, one for
 * each element: 0 where it is dropped, the scale where it stays; null without dropout.
 */
public final class ReferenceOperations {
    private static final double LAYER_NORM_EPS = 1e-5;

    private ReferenceOperations() {}

    /** The same values in float64. */
    public static double[] doubles(float[] values) {
        return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
    }

    // ---------------------------------------------------------------------------------------------- layers

    public record LinearGrad(double[] dx, double[] dw, double[] dbias) {}

    /** y[r][o] = sum over i of x[r][i] w[o][i], plus bias[o] if there is one, then ReLU if asked. */
    public static double[] linear(double[] x, double[] w, double[] bias, boolean relu, int in) {
        int rows = x.length / in;
        int out = w.length / in;
        double[] y = new double[rows * out];
        for (int r = 0; r < rows; r++) {
            for (int o = 0; o < out; o++) {
                double sum = bias == null ? 0 : bias[o];
                for (int i = 0; i < in; i++) {
                    sum += x[r * in + i] * w[o * in + i];
                }
                y[r * out + o] = relu ? Math.max(sum, 0) : sum;
            }
        }
        return y;
    }

    /** Each product in the sum of {@link #linear} gives its part to the gradients of both factors. */
    public static LinearGrad linearGrad(double[] x, double[] w, double[] dy, int rows, int in, int out) {
        double[] dx = new double[rows * in];
        double[] dw = new double[out * in];
        double[] dbias = new double[out];
        for (int r = 0; r < rows; r++) {
            for (int o = 0; o < out; o++) {
                double g = dy[r * out + o];
                dbias[o] += g;
                for (int i = 0; i < in; i++) {
                    dx[r * in + i] += g * w[o * in + i];
                    dw[o * in + i] += g * x[r * in + i];
                }
            }
        }
        return new LinearGrad(dx, dw, dbias);
    }

    /** dy where y is positive, else 0. */
    public static double[] reluGrad(double[] y, double[] dy) {
        return IntStream.range(0, y.length)
                .mapToDouble(i -> y[i] > 0 ? dy[i] : 0)
                .toArray();
    }

    public record EmbeddingGrad(double[] dwte, double[] dwpe) {}

    /** The token's row of wte, plus the position's row of wpe if there is one. */
    public static double[] embedding(int[] tokens, double[] wte, double[] wpe, int t, int c, int position) {
        double[] out = new double[tokens.length * c];
        for (int r = 0; r < tokens.length; r++) {
            for (int j = 0; j < c; j++) {
                double token = wte[tokens[r] * c + j];
                out[r * c + j] = wpe == null ? token : token + wpe[(position + r % t) * c + j];
            }
        }
        return out;
    }

    /** A row's gradient is the sum over all places that used it. */
    public static EmbeddingGrad embeddingGrad(int[] tokens, double[] dout, int vocabSize, int context, int t, int c) {
        double[] dwte = new double[vocabSize * c];
        double[] dwpe = new double[context * c];
        for (int r = 0; r < tokens.length; r++) {
            for (int j = 0; j < c; j++) {
                double g = dout[r * c + j];
                dwte[tokens[r] * c + j] += g;
                dwpe[r % t * c + j] += g;
            }
        }
        return new EmbeddingGrad(dwte, dwpe);
    }

    /** @param stats (rows, 2): mean and 1 / standard deviation */
    public record LayerNorm(double[] out, double[] stats) {}

    public record LayerNormGrad(double[] dx, double[] dweight, double[] dbias) {}

    public static LayerNorm layerNorm(double[] x, double[] weight, double[] bias, int rows, int c) {
        double[] out = new double[rows * c];
        double[] stats = new double[rows * 2];
        for (int r = 0; r < rows; r++) {
            double mean = 0;
            for (int j = 0; j < c; j++) {
                mean += x[r * c + j] / c;
            }
            double variance = 0;
            for (int j = 0; j < c; j++) {
                variance += (x[r * c + j] - mean) * (x[r * c + j] - mean) / c;
            }
            double rstd = 1 / Math.sqrt(variance + LAYER_NORM_EPS);
            for (int j = 0; j < c; j++) {
                out[r * c + j] = (x[r * c + j] - mean) * rstd * weight[j] + bias[j];
            }
            stats[2 * r] = mean;
            stats[2 * r + 1] = rstd;
        }
        return new LayerNorm(out, stats);
    }

    /** By the whole Jacobian: with n the normalized row, dn[j] / dx[i] = rstd (1 if i = j - 1/C - n[i] n[j] / C). */
    public static LayerNormGrad layerNormGrad(double[] x, double[] weight, double[] dout, int rows, int c) {
        double[] ones = new double[c];
        Arrays.fill(ones, 1);
        LayerNorm norm = layerNorm(x, ones, new double[c], rows, c);
        double[] dx = new double[rows * c];
        double[] dweight = new double[c];
        double[] dbias = new double[c];
        for (int r = 0; r < rows; r++) {
            double rstd = norm.stats[2 * r + 1];
            for (int j = 0; j < c; j++) {
                double n = norm.out[r * c + j];
                double g = dout[r * c + j];
                dweight[j] += g * n;
                dbias[j] += g;
                for (int i = 0; i < c; i++) {
                    dx[r * c + i] += g * weight[j] * rstd * ((i == j ? 1 : 0) - 1.0 / c - norm.out[r * c + i] * n / c);
                }
            }
        }
        return new LayerNormGrad(dx, dweight, dbias);
    }

    /** @param stats (rows): 1 / root mean square */
    public record RmsNorm(double[] out, double[] stats) {}

    public static RmsNorm rmsNorm(double[] x, double[] weight, int rows, int c) {
        double[] out = new double[rows * c];
        double[] stats = new double[rows];
        for (int r = 0; r < rows; r++) {
            double squares = 0;
            for (int j = 0; j < c; j++) {
                squares += x[r * c + j] * x[r * c + j];
            }
            stats[r] = 1 / Math.sqrt(squares / c + 1e-5);
            for (int j = 0; j < c; j++) {
                out[r * c + j] = x[r * c + j] * stats[r] * weight[j];
            }
        }
        return new RmsNorm(out, stats);
    }

    public record RmsNormGrad(double[] dx, double[] dweight) {}

    /** By the whole Jacobian: with n the normalized row, dn[j] / dx[i] = (1 if i = j - n[i] n[j] / C) / rms. */
    public static RmsNormGrad rmsNormGrad(double[] x, double[] weight, double[] dout, int rows, int c) {
        double[] ones = new double[c];
        Arrays.fill(ones, 1);
        RmsNorm norm = rmsNorm(x, ones, rows, c);
        double[] dx = new double[rows * c];
        double[] dweight = new double[c];
        for (int r = 0; r < rows; r++) {
            for (int j = 0; j < c; j++) {
                double n = norm.out[r * c + j];
                double g = dout[r * c + j];
                dweight[j] += g * n;
                for (int i = 0; i < c; i++) {
                    dx[r * c + i] += g * weight[j] * norm.stats[r] * ((i == j ? 1 : 0) - norm.out[r * c + i] * n / c);
                }
            }
        }
        return new RmsNormGrad(dx, dweight);
    }

    /**
     * As the definitions say, in float32 where rounding to whole numbers makes a difference: next to a half, float64 would
     * often fall on the other side.
     */
    public static double[] quantizeWeights(float[] w, boolean binary, int matrices, int n) {
        double[] q = new double[matrices * n];
        for (int m = 0; m < matrices; m++) {
            float[] matrix = Arrays.copyOfRange(w, m * n, (m + 1) * n);
            double sum = 0;
            double magnitude = 0;
            for (float value : matrix) {
                sum += value;
                magnitude += Math.abs(value);
            }
            float mean = (float) (sum / n);
            float size = (float) (magnitude / n);
            float scale = 1 / Math.max(size, 1e-5f);
            for (int i = 0; i < n; i++) {
                float ternary = (float) Math.rint(matrix[i] * scale);
                float rounded = Math.max(-1, Math.min(1, ternary)) / scale;
                q[m * n + i] = binary ? (matrix[i] - mean < 0 ? -size : size) : rounded + 0.0; // no -0
            }
        }
        return q;
    }

    /** In float32 for the same reason. */
    public static double[] quantizeRows(float[] x, int rows, int c) {
        double[] q = new double[rows * c];
        for (int r = 0; r < rows; r++) {
            float largest = 0;
            for (int j = 0; j < c; j++) {
                largest = Math.max(largest, Math.abs(x[r * c + j]));
            }
            float scale = 127 / Math.max(largest, 1e-5f);
            for (int j = 0; j < c; j++) {
                float rounded = (float) Math.rint(x[r * c + j] * scale);
                q[r * c + j] = Math.max(-128, Math.min(127, rounded)) / scale + 0.0;
            }
        }
        return q;
    }

    /** Row r counts up to element r % c if causal. */
    public static double[] softmax(double[] x, boolean causal, int rows, int c) {
        double[] y = new double[rows * c];
        for (int r = 0; r < rows; r++) {
            int length = causal ? r % c + 1 : c;
            double denominator = logSumExp(Arrays.copyOfRange(x, r * c, r * c + length));
            for (int j = 0; j < length; j++) {
                y[r * c + j] = Math.exp(x[r * c + j] - denominator);
            }
        }
        return y;
    }

    /** By the whole Jacobian: dy[j] / dx[k] = y[j] (1 if j = k - y[k]). */
    public static double[] softmaxGrad(double[] y, double[] dy, boolean causal, int rows, int c) {
        double[] dx = new double[rows * c];
        for (int r = 0; r < rows; r++) {
            int length = causal ? r % c + 1 : c;
            for (int k = 0; k < length; k++) {
                for (int j = 0; j < length; j++) {
                    dx[r * c + k] += dy[r * c + j] * y[r * c + j] * ((j == k ? 1 : 0) - y[r * c + k]);
                }
            }
        }
        return dx;
    }

    public static double[] residual(double[] x, double[] branch, double[] bias, double[] mask) {
        return IntStream.range(0, x.length)
                .mapToDouble(i -> x[i] + (branch[i] + bias[i % bias.length]) * factor(mask, i))
                .toArray();
    }

    /** The sum of the rows of x (rows, c). */
    public static double[] columnSums(double[] x, int rows, int c) {
        double[] sums = new double[c];
        for (int i = 0; i < rows * c; i++) {
            sums[i % c] += x[i];
        }
        return sums;
    }

    /** The gradient for the branch. */
    public static double[] residualGrad(double[] dsum, double[] mask) {
        return IntStream.range(0, dsum.length)
                .mapToDouble(i -> dsum[i] * factor(mask, i))
                .toArray();
    }

    private static double factor(double[] mask, int i) {
        return mask == null ? 1 : mask[i];
    }

    /**
     * @param weights (B, H, T, T), softmax(q k^T S^-0.5) before dropout, 0 behind the causal mask
     * @param lse (B, H, T), the logarithm of each softmax's denominator
     */
    public record Attention(double[] out, double[] weights, double[] lse) {}

    /** qkv (B, T, 3A), mask (B, H, T, T) or null. */
    public static Attention attention(double[] qkv, double[] mask, int batch, int t, int heads) {
        int width = qkv.length / (3 * batch * t);
        int headSize = width / heads;
        double[] out = new double[batch * t * width];
        double[] weights = new double[batch * heads * t * t];
        double[] lse = new double[batch * heads * t];
        for (int b = 0; b < batch; b++) {
            for (int h = 0; h < heads; h++) {
                for (int i = 0; i < t; i++) {
                    int row = ((b * heads + h) * t + i) * t;
                    double[] scores = new double[i + 1];
                    for (int j = 0; j <= i; j++) {
                        for (int d = 0; d < headSize; d++) {
                            scores[j] += qkv[query(b, t, i, width) + h * headSize + d]
                                    * qkv[key(b, t, j, width) + h * headSize + d]
                                    / Math.sqrt(headSize);
                        }
                    }
                    double logDenominator = logSumExp(scores);
                    lse[(b * heads + h) * t + i] = logDenominator;
                    for (int j = 0; j <= i; j++) {
                        weights[row + j] = Math.exp(scores[j] - logDenominator);
                        for (int d = 0; d < headSize; d++) {
                            out[(b * t + i) * width + h * headSize + d] += weights[row + j]
                                    * factor(mask, row + j)
                                    * qkv[value(b, t, j, width) + h * headSize + d];
                        }
                    }
                }
            }
        }
        return new Attention(out, weights, lse);
    }

    /** dqkv (B, T, 3A), by the softmax's whole Jacobian: dp[j] / ds[k] = p[j] (1 if j = k - p[k]). */
    public static double[] attentionGrad(double[] qkv, double[] dout, double[] mask, int batch, int t, int heads) {
        int width = qkv.length / (3 * batch * t);
        int headSize = width / heads;
        double[] weights = attention(qkv, mask, batch, t, heads).weights;
        double[] dqkv = new double[qkv.length];
        for (int b = 0; b < batch; b++) {
            for (int h = 0; h < heads; h++) {
                for (int i = 0; i < t; i++) {
                    int row = ((b * heads + h) * t + i) * t;
                    double[] dweights = new double[i + 1];
                    for (int j = 0; j <= i; j++) {
                        for (int d = 0; d < headSize; d++) {
                            double g = dout[(b * t + i) * width + h * headSize + d] * factor(mask, row + j);
                            int v = value(b, t, j, width) + h * headSize + d;
                            dweights[j] += g * qkv[v];
                            dqkv[v] += g * weights[row + j];
                        }
                    }
                    for (int k = 0; k <= i; k++) {
                        double dscore = 0;
                        for (int j = 0; j <= i; j++) {
                            dscore += dweights[j] * weights[row + j] * ((j == k ? 1 : 0) - weights[row + k]);
                        }
                        for (int d = 0; d < headSize; d++) {
                            int q = query(b, t, i, width) + h * headSize + d;
                            int key = key(b, t, k, width) + h * headSize + d;
                            dqkv[q] += dscore * qkv[key] / Math.sqrt(headSize);
                            dqkv[key] += dscore * qkv[q] / Math.sqrt(headSize);
                        }
                    }
                }
            }
        }
        return dqkv;
    }

    /**
     * Attention of t new tokens at {@code position}: the last rows of attention over the cached tokens and the new ones.
     *
     * @param qkv (B, t, 3A)
     * @param cache (B, context, 2A), whose rows from {@code position} on are overwritten with the new keys and values
     * @return (B, t, A)
     */
    public static double[] attentionCached(double[] qkv, double[] cache, int batch, int t, int position, int heads) {
        int width = qkv.length / (3 * batch * t);
        int context = cache.length / (2 * batch * width);
        int all = position + t;
        double[] whole =
                new double[batch * all * 3 * width]; // queries of cached tokens: any, nobody asks for their rows
        for (int b = 0; b < batch; b++) {
            for (int i = 0; i < t; i++) {
                int row = query(b, t, i, width);
                System.arraycopy(qkv, row + width, cache, (b * context + position + i) * 2 * width, 2 * width);
                System.arraycopy(qkv, row, whole, query(b, all, position + i, width), width);
            }
            for (int j = 0; j < all; j++) {
                System.arraycopy(cache, (b * context + j) * 2 * width, whole, key(b, all, j, width), 2 * width);
            }
        }
        double[] wholeOut = attention(whole, null, batch, all, heads).out;
        double[] out = new double[batch * t * width];
        for (int b = 0; b < batch; b++) {
            System.arraycopy(wholeOut, (b * all + position) * width, out, b * t * width, t * width);
        }
        return out;
    }

    private static int query(int b, int t, int i, int width) {
        return (b * t + i) * 3 * width;
    }

    private static int key(int b, int t, int i, int width) {
        return query(b, t, i, width) + width;
    }

    private static int value(int b, int t, int i, int width) {
        return query(b, t, i, width) + 2 * width;
    }

    private static double logSumExp(double[] x) {
        double max = Arrays.stream(x).max().orElseThrow();
        return max + Math.log(Arrays.stream(x).map(v -> Math.exp(v - max)).sum());
    }

    /** @param loss the sum over rows */
    public record CrossEntropy(double loss, double[] dlogits) {}

    public static CrossEntropy crossEntropy(double[] logits, int[] targets, double gradScale, int rows, int v) {
        double loss = 0;
        double[] dlogits = new double[rows * v];
        for (int r = 0; r < rows; r++) {
            double denominator = logSumExp(Arrays.copyOfRange(logits, r * v, (r + 1) * v));
            loss += denominator - logits[r * v + targets[r]];
            for (int j = 0; j < v; j++) {
                double p = Math.exp(logits[r * v + j] - denominator);
                dlogits[r * v + j] = (p - (j == targets[r] ? 1 : 0)) * gradScale;
            }
        }
        return new CrossEntropy(loss, dlogits);
    }

    // ---------------------------------------------------------------------------------------------- training

    public static double[] sum(double[]... parts) {
        double[] sum = new double[parts[0].length];
        for (double[] part : parts) {
            for (int i = 0; i < sum.length; i++) {
                sum[i] += part[i];
            }
        }
        return sum;
    }

    public static double gradNorm(double[] x) {
        return Math.sqrt(Arrays.stream(x).map(v -> v * v).sum());
    }

    /** What AdamW keeps from step to step. */
    public record AdamWState(double[] params, double[] firstMoments, double[] secondMoments) {}

    /** As Loshchilov and Hutter's algorithm 2 without a schedule; changes the state. */
    public static void adamW(
            AdamWState state, double[] grads, double learningRate, int step, double gradNorm, AdamWSettings settings) {
        double[] params = state.params();
        double[] firstMoments = state.firstMoments();
        double[] secondMoments = state.secondMoments();
        double clip = settings.clip();
        double gradScale = clip > 0 && gradNorm > clip ? clip / (gradNorm + 1e-6) : 1;
        for (int i = 0; i < params.length; i++) {
            double g = grads[i] * gradScale;
            firstMoments[i] = settings.beta1() * firstMoments[i] + (1.0 - settings.beta1()) * g;
            secondMoments[i] = settings.beta2() * secondMoments[i] + (1.0 - settings.beta2()) * g * g;
            double mean = firstMoments[i] / (1 - Math.pow(settings.beta1(), step));
            double square = secondMoments[i] / (1 - Math.pow(settings.beta2(), step));
            params[i] -= learningRate * settings.weightDecay() * params[i];
            params[i] -= learningRate * mean / (Math.sqrt(square) + settings.eps());
        }
    }

    /** x (B, T) and y (B, T). */
    public record Batch(int[] x, int[] y) {}

    public static Batch gatherBatch(int[] corpus, long seed, int purpose, long step, Pass pass) {
        int batch = pass.batch();
        int t = pass.length();
        int[] x = new int[batch * t];
        int[] y = new int[batch * t];
        for (int b = 0; b < batch; b++) {
            int place = below(philoxWord(seed, purpose, step, pass.firstSequence() + b), corpus.length - t);
            for (int i = 0; i < t; i++) {
                x[b * t + i] = corpus[place + i];
                y[b * t + i] = corpus[place + i + 1];
            }
        }
        return new Batch(x, y);
    }

    // ---------------------------------------------------------------------------------------------- generation

    /** Each token's probability to be drawn: softmax of logits / temperature, then top-k, then top-p of what is left. */
    public static double[] probabilities(double[] logits, Sampling sampling) {
        int v = logits.length;
        Integer[] order = IntStream.range(0, v)
                .boxed()
                .sorted(Comparator.comparing((Integer i) -> -logits[i])) // stable: ties to the lower id
                .toArray(Integer[]::new);
        double[] p = new double[v];
        if (sampling.temperature() == 0) {
            p[order[0]] = 1;
            return p;
        }
        int kept = sampling.topK() == 0 ? v : Math.min(sampling.topK(), v);
        for (int rank = 0; rank < kept; rank++) {
            p[order[rank]] = Math.exp((logits[order[rank]] - logits[order[0]]) / sampling.temperature());
        }
        normalize(p);
        double sum = 0;
        for (int i : order) {
            if (sampling.topP() < 1 && sum >= sampling.topP()) {
                p[i] = 0;
            }
            sum += p[i];
        }
        normalize(p);
        return p;
    }

    private static void normalize(double[] p) {
        double total = Arrays.stream(p).sum();
        Arrays.setAll(p, i -> p[i] / total);
    }

    /** The first token at which the probabilities so far exceed u, a number in [0, 1). */
    public static int draw(double[] probabilities, double u) {
        double sum = 0;
        int last = 0;
        for (int i = 0; i < probabilities.length; i++) {
            sum += probabilities[i];
            if (u < sum) {
                return i;
            }
            last = probabilities[i] > 0 ? i : last;
        }
        return last;
    }

    /** Each sequence from its second token on, and then what is next. tokens (B, T), next (B). */
    public static int[] append(int[] tokens, int[] next, int batch, int t) {
        int[] appended = new int[batch * t];
        for (int b = 0; b < batch; b++) {
            for (int i = 0; i < t; i++) {
                appended[b * t + i] = i < t - 1 ? tokens[b * t + i + 1] : next[b];
            }
        }
        return appended;
    }

    // ---------------------------------------------------------------------------------------------- random numbers

    /** Philox4x32-10: the four words of a counter under a key of two. */
    public static int[] philox(int[] counter, int[] key) {
        int[] c = counter.clone();
        int[] k = key.clone();
        for (int round = 0; round < 10; round++) {
            long product0 = Integer.toUnsignedLong(0xD2511F53) * Integer.toUnsignedLong(c[0]);
            long product1 = Integer.toUnsignedLong(0xCD9E8D57) * Integer.toUnsignedLong(c[2]);
            c = new int[] {
                (int) (product1 >>> 32) ^ c[1] ^ k[0],
                (int) product1,
                (int) (product0 >>> 32) ^ c[3] ^ k[1],
                (int) product0
            };
            k[0] += 0x9E3779B9;
            k[1] += 0xBB67AE85;
        }
        return c;
    }

    /** The four words of a block of a stream. */
    public static int[] philoxBlock(long seed, int purpose, long step, long block) {
        return philox(
                new int[] {(int) block, (int) (block >>> 32) | purpose << 16, (int) step, (int) (step >>> 32)},
                new int[] {(int) seed, (int) (seed >>> 32)});
    }

    /** Number {@code index} of a stream, four to a block. */
    public static int philoxWord(long seed, int purpose, long step, long index) {
        return philoxBlock(seed, purpose, step, index / 4)[(int) (index % 4)];
    }

    /** An integer in [0, bound). */
    public static int below(int word, int bound) {
        return (int) (Integer.toUnsignedLong(word) * bound / (1L << 32));
    }

    /** A number in [0, 1): the upper 24 bits as a fraction. */
    public static double uniform(int word) {
        return (word >>> 8) / (double) (1 << 24);
    }

    /** The factors of elements {@code first} to {@code first + n - 1}: eight halves to a block, low half first. */
    public static double[] dropoutMask(float probability, long seed, int purpose, long step, long first, int n) {
        long threshold = Math.min(Math.round(probability * 65536.0), 65535);
        double[] mask = new double[n];
        for (int i = 0; i < n; i++) {
            long e = first + i;
            int word = philoxBlock(seed, purpose, step, e / 8)[(int) (e % 8) / 2];
            int half = e % 2 == 0 ? word & 0xFFFF : word >>> 16;
            mask[i] = half < threshold ? 0 : 65536.0 / (65536 - threshold);
        }
        return mask;
    }
}
