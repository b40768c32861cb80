/** Saved models: the safetensors format, and run folders that are whole at every moment. */
package io.github.drakegpt.checkpoint;
