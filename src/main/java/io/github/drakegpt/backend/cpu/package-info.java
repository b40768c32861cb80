/** The CPU backend: OpenBLAS for matrix products, plain Java loops for the rest. */
package io.github.drakegpt.backend.cpu;
