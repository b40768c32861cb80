/** Shapes, element types, and tensors as views of a device's memory. Uses no other package. */
package io.github.drakegpt.tensor;
