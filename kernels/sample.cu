// Draws the next token of each sequence from its logits: temperature, then top-k, then top-p of what is left (Holtzman et
// al., "The Curious Case of Neural Text Degeneration", 2020).
//
// Bound by latency: a row of logits is small. In float64, as on the CPU, so that both draw the same tokens.
#include "common/philox.cuh"
#include "common/reduce.cuh"

// logits (B, t, v), of which the last of the t rows counts; first_sequence (1) or null for 0; tokens (B); weights, sorted (B,
// v): scratch. A block a sequence.
KERNEL(ROW_THREADS, sample_f32, const float* logits, double* weights, double* sorted, float temperature, int top_k,
       float top_p, unsigned long long seed, int purpose, const int* step, const int* first_sequence, int* tokens, int t,
       int v) {
    SHARED(float, best_logits, [ROW_THREADS]);
    SHARED(int, best_tokens, [ROW_THREADS]);
    int thread = threadIdx.x;
    const float* row = logits + ((long long)blockIdx.x * t + t - 1) * v;
    weights += (long long)blockIdx.x * v;
    sorted += (long long)blockIdx.x * v;

    // The most likely token; of several, the first.
    float best_logit = -INFINITY;
    int best = v;
    for (int i = thread; i < v; i += ROW_THREADS) {
        if (best == v || row[i] > best_logit) {
            best_logit = row[i];
            best = i;
        }
    }
    best_logits[thread] = best_logit;
    best_tokens[thread] = best;
    for (int width = ROW_THREADS / 2; width > 0; width /= 2) {
        __syncthreads();
        if (thread < width) {
            float other_logit = best_logits[thread + width];
            int other = best_tokens[thread + width];
            bool better = other < v
                && (other_logit > best_logits[thread]
                    || (other_logit == best_logits[thread] && other < best_tokens[thread]));
            if (better) {
                best_logits[thread] = other_logit;
                best_tokens[thread] = other;
            }
        }
    }
    __syncthreads();
    best = best_tokens[0];
    if (temperature == 0) {
        if (thread == 0) {
            tokens[blockIdx.x] = best;
        }
        return;
    }

    // Each thread has a stretch of the vocabulary, so that sums over threads are sums in the order of the tokens.
    int stretch = (v + ROW_THREADS - 1) / ROW_THREADS;
    int first = thread * stretch < v ? thread * stretch : v;
    int last = first + stretch < v ? first + stretch : v;
    for (int i = first; i < last; i++) {
        weights[i] = exp((double(row[i]) - double(row[best])) / double(temperature));
    }
    __syncthreads();
    if (top_k > 0 || top_p < 1) {
        int kept = top_k > 0 && top_k < v ? top_k : v;
        // A token's rank is how many come before it: the more likely, and of the equally likely those with lower ids.
        for (int i = first; i < last; i++) {
            int rank = 0;
            for (int j = 0; j < v; j++) {
                rank += weights[j] > weights[i] || (weights[j] == weights[i] && j < i);
            }
            sorted[rank] = weights[i];
        }
        __syncthreads();
        // Of what top-k keeps, the fewest that together reach top-p. All up to the last kept rank stay.
        double in_top_k = 0;
        for (int i = first; i < last && i < kept; i++) {
            in_top_k += sorted[i];
        }
        in_top_k = block_sum(in_top_k);
        SHARED(int, ranks, [1]);
        if (thread == 0) {
            double sum = 0;
            int rank = 0;
            while (rank < kept && (rank == 0 || sum < top_p * in_top_k)) {
                sum += sorted[rank];
                rank++;
            }
            ranks[0] = rank;
        }
        __syncthreads();
        double smallest = sorted[ranks[0] - 1];
        int equal = 0;  // of those as likely as the last that is kept, how many are kept
        for (int i = ranks[0] - 1; i >= 0 && sorted[i] == smallest; i--) {
            equal++;
        }
        __syncthreads();  // all have read sorted, which now marks the kept tokens
        for (int i = first; i < last; i++) {
            int before = 0;
            if (weights[i] == smallest) {
                for (int j = 0; j < i; j++) {
                    before += weights[j] == smallest;
                }
            }
            bool stays = weights[i] > smallest || (weights[i] == smallest && before < equal);
            sorted[i] = stays ? weights[i] : 0.0;
        }
        weights = sorted;
    }
    // The token at which the sum of the weights so far exceeds u times their total.
    double mine = 0;
    for (int i = first; i < last; i++) {
        mine += weights[i];
    }
    double total = block_sum(mine);
    SHARED(double, sums, [ROW_THREADS]);
    sums[thread] = mine;
    __syncthreads();
    if (thread == 0) {
        Stream stream = {seed, purpose, *step};
        long long sequence = (first_sequence == nullptr ? 0 : *first_sequence) + (long long)blockIdx.x;
        double u = (philox_word(stream, sequence) >> 8) * 0x1p-24;
        double left = u * total;
        int drawn = best;
        bool found = false;
        for (int group = 0; group < ROW_THREADS && !found; group++) {
            if (left >= sums[group]) {
                left -= sums[group];
                continue;
            }
            int end = (group + 1) * stretch < v ? (group + 1) * stretch : v;
            for (int i = group * stretch; i < end && !found; i++) {
                if (weights[i] > 0) {
                    drawn = i;
                    left -= weights[i];
                    found = left < 0;
                }
            }
        }
        if (!found) {
            // Rounding: the weights add up to a little less than their total. The last that can be drawn.
            for (int i = v - 1; i >= 0; i--) {
                if (weights[i] > 0) {
                    drawn = i;
                    break;
                }
            }
        }
        tokens[blockIdx.x] = drawn;
    }
}
