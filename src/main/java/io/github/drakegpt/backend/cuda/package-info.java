/**
 * The operations on an NVIDIA GPU, and what it takes to get there: finding and loading the driver and NVIDIA's libraries
 * ({@link io.github.drakegpt.backend.cuda.CudaLibraries}), asking for the devices.
 */
package io.github.drakegpt.backend.cuda;
