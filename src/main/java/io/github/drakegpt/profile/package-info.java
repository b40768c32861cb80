/** Benchmarks. */
package io.github.drakegpt.profile;
