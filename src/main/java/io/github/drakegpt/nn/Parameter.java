package io.github.drakegpt.nn;

import io.github.drakegpt.tensor.Tensor;

/**
 * A trained tensor: a part of the flat buffers of parameters and of gradients.
 *
 * @param offset of the first element within the flat buffers
 * @param value the values, F32
 * @param matmulWeights the values in the type of matrix products: rounded copies, or value itself
 * @param grad the gradient, F32; null in a model that is not trained
 */
record Parameter(long offset, Init.Distribution init, Tensor value, Tensor matmulWeights, Tensor grad) {}
