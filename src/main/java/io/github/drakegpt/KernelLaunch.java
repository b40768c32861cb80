package io.github.drakegpt;

import java.util.List;

/**
 * A launch of a kernel: what cuLaunchKernel takes. Sizes along z are 1.
 *
 * @param module the file of {@code kernels/} that has the kernel, without its extension; {@link CudaInterop#ptx} gives its
 *     PTX
 * @param entry name of the kernel in the module
 * @param gridX blocks along x
 * @param gridY blocks along y
 * @param blockX threads of a block along x
 * @param blockY threads of a block along y
 * @param sharedBytes dynamic shared memory of a block; more than 48 KB of it have to be allowed by cuFuncSetAttribute
 * @param parameters in the kernel's order
 */
public record KernelLaunch(
        String module,
        String entry,
        int gridX,
        int gridY,
        int blockX,
        int blockY,
        int sharedBytes,
        List<Parameter> parameters) {
    /**
     * A parameter.
     *
     * @param type its type in PTX: u32, u64 or f32; pointers are u64
     * @param value its value; of a pointer the address, which is an operand's, or that of memory between two kernels of one
     *     operation
     */
    public record Parameter(String type, Number value) {}
}
