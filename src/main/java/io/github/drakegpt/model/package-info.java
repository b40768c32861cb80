/**
 * The six language models, each of which extends the one before it; generating text and scoring texts with them.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.model;
