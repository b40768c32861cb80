/**
 * What programs that embed the library use: a {@linkplain io.github.drakegpt.Device device}, its memory and operations, and
 * {@linkplain io.github.drakegpt.TextModel models} of text and their {@linkplain io.github.drakegpt.Training training}.
 * Tensors and arenas are in {@link io.github.drakegpt.tensor}; what is in the other packages may change at any time.
 */
package io.github.drakegpt;
