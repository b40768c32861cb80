/**
 * Devices: {@link io.github.drakegpt.backend.Backend} is the interface of one, and
 * {@link io.github.drakegpt.backend.Backends} finds the implementations.
 */
package io.github.drakegpt.backend;
