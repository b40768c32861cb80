/**
 * Presentation of runs: the report page, the live page and pictures of curves.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.report;
