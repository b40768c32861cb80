/**
 * Weights of one bit and of log2(3) = 1.58 bits.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.quant;
