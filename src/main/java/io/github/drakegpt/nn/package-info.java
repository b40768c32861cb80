/** Layers: parameters, and forward and backward passes written out as operations. */
package io.github.drakegpt.nn;
