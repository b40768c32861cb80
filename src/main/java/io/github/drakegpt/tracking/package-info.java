/** Listeners that record how training goes. */
package io.github.drakegpt.tracking;
