/**
 * The operations on an NVIDIA GPU; finding and loading the driver and NVIDIA's libraries
 * ({@link io.github.drakegpt.backend.cuda.CudaLibraries}); listing the devices.
 */
package io.github.drakegpt.backend.cuda;
