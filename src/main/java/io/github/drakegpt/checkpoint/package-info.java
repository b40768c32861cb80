/**
 * Saved models: the safetensors format, and run folders that are whole at every moment.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.checkpoint;
