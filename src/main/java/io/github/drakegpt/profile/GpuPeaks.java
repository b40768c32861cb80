package io.github.drakegpt.profile;

import io.github.drakegpt.tensor.Precision;
import java.util.Map;
import java.util.Optional;

/**
 * Peak rates of a GPU's matrix products, in 10^12 multiplications and additions a second, without sparsity, from
 * NVIDIA's data sheets and the white papers of GeForce cards; rates that they give for sparse matrices only are halved.
 *
 * @param fp32 on the ordinary units
 * @param tf32 on the tensor cores
 * @param bf16 on the tensor cores, sums in float32
 */
public record GpuPeaks(double fp32, double tf32, double bf16) {
    private static final GpuPeaks H100_SXM = new GpuPeaks(67, 494.5, 989.5);
    private static final GpuPeaks H100_NVL = new GpuPeaks(60, 417.5, 835.5);
    private static final GpuPeaks A100 = new GpuPeaks(19.5, 156, 312);

    /** By CUDA's device names. A part of a GPU (MIG), or a laptop's, has another name, and no known peak. */
    private static final Map<String, GpuPeaks> BY_NAME = Map.ofEntries(
            Map.entry("NVIDIA H200", H100_SXM),
            Map.entry("NVIDIA H200 NVL", H100_NVL),
            Map.entry("NVIDIA H100 80GB HBM3", H100_SXM),
            Map.entry("NVIDIA H100 NVL", H100_NVL),
            Map.entry("NVIDIA H100 PCIe", new GpuPeaks(51, 378, 756)),
            Map.entry("NVIDIA A100-SXM4-40GB", A100),
            Map.entry("NVIDIA A100-SXM4-80GB", A100),
            Map.entry("NVIDIA A100-PCIE-40GB", A100),
            Map.entry("NVIDIA A100 80GB PCIe", A100),
            Map.entry("NVIDIA A40", new GpuPeaks(37.4, 74.8, 149.7)),
            Map.entry("NVIDIA A30", new GpuPeaks(10.3, 82, 165)),
            Map.entry("NVIDIA A10", new GpuPeaks(31.2, 62.5, 125)),
            Map.entry("NVIDIA L40S", new GpuPeaks(91.6, 183, 362.05)),
            Map.entry("NVIDIA L40", new GpuPeaks(90.5, 90.5, 181.05)),
            Map.entry("NVIDIA L4", new GpuPeaks(30.3, 60, 121)),
            Map.entry("NVIDIA GeForce RTX 4090", new GpuPeaks(82.6, 82.6, 165.2)),
            Map.entry("NVIDIA GeForce RTX 3090", new GpuPeaks(35.6, 35.6, 71)));

    /**
     * The peaks of a device; empty if they are not known.
     *
     * @param description of its backend, which begins with the name and a comma
     */
    public static Optional<GpuPeaks> of(String description) {
        return Optional.ofNullable(BY_NAME.get(description.split(",", 2)[0]));
    }

    /** The rate in a precision. */
    public double teraflops(Precision precision) {
        return switch (precision) {
            case FP32 -> fp32;
            case TF32 -> tf32;
            case BF16 -> bf16;
        };
    }
}
