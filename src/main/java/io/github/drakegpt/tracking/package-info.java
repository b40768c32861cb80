/** Listeners that record training. */
package io.github.drakegpt.tracking;
