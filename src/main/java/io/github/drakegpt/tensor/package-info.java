/** Shapes, element types, tensors as views of a backend's memory, and the random generator. Uses no other package. */
package io.github.drakegpt.tensor;
