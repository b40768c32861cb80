/**
 * Devices: {@link io.github.drakegpt.backend.Backend} is the interface of one, and
 * {@link io.github.drakegpt.backend.Backends} finds the implementations.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.backend;
