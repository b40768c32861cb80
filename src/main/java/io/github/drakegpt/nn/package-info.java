/** Layers: parameters, and forward and backward passes written out over the operations of a backend. */
package io.github.drakegpt.nn;
