/** The CPU backend: OpenBLAS for matrix products, native kernels for those with packed weights, plain Java loops for the rest. */
package io.github.drakegpt.backend.cpu;
