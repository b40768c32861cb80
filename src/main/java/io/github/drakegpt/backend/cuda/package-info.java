/**
 * The operations on an NVIDIA GPU; finding and loading the driver and NVIDIA's libraries
 * ({@link io.github.drakegpt.backend.cuda.CudaLibraries}); listing the devices.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.backend.cuda;
