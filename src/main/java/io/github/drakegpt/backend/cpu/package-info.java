/**
 * The CPU backend. Classes named Java... define the bits of each operation, classes named Native... compute the same bits in native code.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.backend.cpu;
