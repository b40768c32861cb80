/** Shapes, element types, tensors as views of a backend's memory, and the random generator. Knows no other package. */
package io.github.drakegpt.tensor;
