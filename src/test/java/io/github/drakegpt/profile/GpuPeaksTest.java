package io.github.drakegpt.profile;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.tensor.Precision;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class GpuPeaksTest {
    @ParameterizedTest
    @CsvSource({
        "NVIDIA H200, 67, 494.5, 989.5",
        "NVIDIA H100 PCIe, 51, 378, 756",
        "NVIDIA L4, 30.3, 60, 121",
        "NVIDIA L40S, 91.6, 183, 362.05"
    })
    void knowsAGpuByItsName(String name, double fp32, double tf32, double bf16) {
        GpuPeaks peaks =
                GpuPeaks.of(name + ", compute capability 9.0, cuBLAS 12.6.0").orElseThrow();

        assertThat(peaks.teraflops(Precision.FP32)).isEqualTo(fp32);
        assertThat(peaks.teraflops(Precision.TF32)).isEqualTo(tf32);
        assertThat(peaks.teraflops(Precision.BF16)).isEqualTo(bf16);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "NVIDIA H200 MIG 1g.18gb, compute capability 9.0",
                "NVIDIA GeForce RTX 4090 Laptop GPU, compute capability 8.9",
                "SIMT driver (no GPU), compute capability 9.0",
                "2 threads, native kernels, AVX2"
            })
    void doesNotGuess(String description) {
        assertThat(GpuPeaks.of(description)).isEmpty();
    }

    /** What holds for every GPU: the tensor cores are no slower, and bf16 takes half the time of tf32. */
    @Test
    void tensorCoresAreFaster() {
        for (String name : new String[] {"NVIDIA H200", "NVIDIA A100-SXM4-40GB", "NVIDIA L40", "NVIDIA A10"}) {
            GpuPeaks peaks = GpuPeaks.of(name).orElseThrow();
            assertThat(peaks.tf32()).isGreaterThanOrEqualTo(peaks.fp32());
            assertThat(peaks.bf16() / peaks.tf32()).isBetween(1.99, 2.02);
        }
    }
}
