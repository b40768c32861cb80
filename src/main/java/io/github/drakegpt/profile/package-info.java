/** Benchmarks, and quantized models beside full precision. */
package io.github.drakegpt.profile;
