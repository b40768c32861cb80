/** Weights of one bit and of log2(3) = 1.58 bits. */
package io.github.drakegpt.quant;
