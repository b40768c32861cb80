// Moves windows over sequences of tokens on by one place, so that a token that was drawn is the next pass's input.
//
// Bound by latency: T tokens of four bytes read and written.
#include "common/reduce.cuh"

// tokens (B, t): each sequence loses its first token and gets that of next (B) behind its last. A block a sequence.
KERNEL(ROW_THREADS, append_tokens, int* tokens, const int* next, int t) {
    tokens += (long long)blockIdx.x * t;
    for (int first = 0; first < t; first += ROW_THREADS) {
        int i = first + threadIdx.x;
        int token = 0;
        if (i < t) {
            token = i + 1 < t ? tokens[i + 1] : next[blockIdx.x];
        }
        __syncthreads();  // all have read what is now overwritten
        if (i < t) {
            tokens[i] = token;
        }
    }
}
