/** The CPU backend. Classes named Java... define the bits of each operation, classes named Native... compute the same bits in native code. */
package io.github.drakegpt.backend.cpu;
