package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.backend.cuda.Simt;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import jcuda.driver.CUdeviceptr;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The GPU's kernels by the front door. */
@Tag("simt")
class SimtFrontDoorTest extends DeviceOperations {
    @Override
    Device open() {
        Simt.build();
        return Device.open("simt");
    }

    @Test
    void aGpuCannotReachArrays() {
        try (Device device = open()) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> device.wrap(new float[4], 2, 2))
                    .withMessage(
                            "The device cuda cannot reach an array of Java; allocate a tensor in an arena and write"
                                    + " the values to it.");
        }
    }

    /** A GPU cannot report an error, but its loss is none that anyone takes for one. */
    @Test
    void aTargetOutsideOfTheVocabularyGivesALossOfNaN() {
        try (Device device = open();
                Arena arena = device.newArena()) {
            Tensor logits = arena.allocate(DType.F32, 2, 4);
            Tensor targets = arena.allocate(DType.I32, 2);
            Tensor loss = arena.allocate(DType.F32, 1);
            for (int target : new int[] {4, -1, Integer.MAX_VALUE}) {
                targets.write(0, target);
                device.crossEntropy(logits, targets, loss);
                assertThat(loss.toFloats()[0]).as("target %s", target).isNaN();
            }
        }
    }

    @Test
    void memoryOfAnotherDeviceIsRefused() {
        try (Device gpu = open();
                Device cpu = Device.open("cpu");
                Arena heap = cpu.newArena();
                Arena memory = gpu.newArena()) {
            Tensor onCpu = heap.allocate(DType.F32, 2, 2);
            Tensor onGpu = memory.allocate(DType.F32, 2, 2);
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> gpu.softmax(onCpu, onCpu))
                    .withMessageContaining("that is not on the GPU");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> cpu.softmax(onGpu, onGpu))
                    .withMessageContaining("that is not on the CPU");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> cpu.softmax(onCpu, onGpu))
                    .withMessageContaining("allocate both in arenas of one");
        }
    }

    /** In a process whose driver is the SIMT one, which has the name of NVIDIA's. */
    @Test
    void attachToJCuda(@TempDir Path work) throws Exception {
        Simt.build();
        String simt = Path.of("target/simt").toAbsolutePath().toString();
        assertThat(Example.of("AttachToJCuda").run(work, Map.of("LD_LIBRARY_PATH", simt, "DRAKEGPT_CUDA_PATH", simt)))
                .containsPattern("probabilities \\[0.0320586.*, 0.25, 0.25, 0.25, 0.25]\n");
    }

    @Test
    void aCpuCannotReachMemoryOfAGpu() {
        try (Device device = Device.open("cpu");
                Arena arena = device.newArena()) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> CudaInterop.wrap(device, new CUdeviceptr(), DType.F32, 1))
                    .withMessage("The device cpu cannot reach a GPU's memory; give the device of that GPU.");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> CudaInterop.pointer(arena.allocate(DType.F32, 1)))
                    .withMessageContaining("that is not on the GPU");
        }
    }

    @Test
    void launchesAreData() {
        try (Device device = open();
                Arena arena = device.newArena()) {
            Tensor x = arena.allocate(DType.F32, 3, 5);
            Tensor y = arena.allocate(DType.F32, 3, 5);
            List<KernelLaunch> launches = CudaInterop.launchesOf(() -> device.softmax(x, y));
            assertThat(launches).hasSize(1);
            KernelLaunch launch = launches.get(0);
            assertThat(launch.module() + " " + launch.entry()).isEqualTo("softmax softmax_warp_f32");
            assertThat(CudaInterop.ptx(launch.module())).contains(".entry " + launch.entry());
            assertThat(List.of(launch.gridX(), launch.gridY(), launch.blockX(), launch.blockY(), launch.sharedBytes()))
                    .containsExactly(1, 1, 32, 8, 0);
            assertThat(launch.parameters())
                    .extracting(KernelLaunch.Parameter::type)
                    .containsExactly("u64", "u64", "u32", "u32", "u32");
            assertThat(launch.parameters())
                    .extracting(KernelLaunch.Parameter::value)
                    .endsWith(3, 5, 0)
                    .doesNotContain(0L);
            device.softmax(x, y);
            assertThat(launches).hasSize(1);
            assertThat(CudaInterop.launchesOf(() -> {})).isEmpty();
        }
    }
}
