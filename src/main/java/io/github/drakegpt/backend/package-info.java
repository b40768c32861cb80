/**
 * What a device must be able to do: {@link io.github.drakegpt.backend.Backend} is the list of operations, and
 * {@link io.github.drakegpt.backend.Backends} finds the implementations.
 */
package io.github.drakegpt.backend;
