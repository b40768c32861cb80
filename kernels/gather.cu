// Draws a training batch from the corpus on the device.
//
// Bound by latency: B * (T + 1) tokens of two bytes read, 2 B T of four bytes written.
#include "common/philox.cuh"

// x, y (B, T): sequences of the corpus (n) at places from the stream, and what follows each token. A thread a token.
KERNEL(256, gather_batch, const unsigned short* corpus, int n, unsigned long long seed, int purpose, const int* step,
       long long first_sequence, int* x, int* y, int batch, int t) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)batch * t) {
        return;
    }
    Stream stream = {seed, purpose, *step};
    unsigned word = philox_word(stream, first_sequence + i / t);
    int place = int(__umulhi(word, unsigned(n - t)));
    int token = place + int(i % t);
    x[i] = corpus[token];
    y[i] = corpus[token + 1];
}
