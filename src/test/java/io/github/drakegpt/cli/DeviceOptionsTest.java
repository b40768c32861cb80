package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.backend.Backends;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DeviceOptionsTest {
    private static final String NO_DRIVER =
            "There is no NVIDIA driver (libcuda.so.1); if this machine has an NVIDIA GPU,"
                    + " install driver 525 or later.";

    @TempDir
    Path temp;

    @Test
    void aGpuThatIsNotThereIsOneSentence() {
        assumeNoGpu();

        Cli.Result result = Cli.run("bench", "--device", "cuda");

        assertThat(result.code()).isEqualTo(2);
        assertThat(result.err()).isEqualTo("drakegpt: The device cuda cannot be used: " + NO_DRIVER + "\n");
    }

    @Test
    void whereThereIsNoGpuNobodyHearsOfIt() {
        assumeNoGpu();

        Cli.Result result = Cli.run("score", "--model", "BigramLM", "--string", "Tonight");

        assertThat(result.code()).isZero();
        assertThat(result.err()).contains("Device cpu").doesNotContain("cuda", "Not using");
    }

    @Test
    void doctorSaysWhatMendsAMissingDriver() {
        assumeNoGpu();

        assertThat(Cli.run("doctor").out()).contains("device cuda\n  usable           no: " + NO_DRIVER + "\n");
    }

    @Test
    void onlyWhoHasBuiltTheTestDriverSeesIt() throws IOException, InterruptedException {
        List<String> notBuilt = List.of("-Ddrakegpt.simt=" + temp);

        assertThat(Cli.runIn(temp, notBuilt, "doctor").out())
                .contains("device cpu")
                .doesNotContain("simt");
        assertThat(Cli.runIn(temp, notBuilt, "bench", "--device", "simt").err())
                .contains("The device simt cannot be used: The SIMT driver is not built; run scripts/build-simt.");
        assertThat(Cli.run("bench", "--help").out())
                .contains("auto, cpu or cuda")
                .doesNotContain("simt");
        assertThat(Cli.run("bench", "--device", "gpu").err())
                .isEqualTo("drakegpt: There is no device 'gpu'; choose auto or one of: cuda, cpu.\n");
    }

    @Test
    void aPrecisionThatTheDeviceDoesNotHaveIsOneSentence() {
        assertThat(Cli.run("bench", "--device", "cpu", "--precision", "tf32").err())
                .isEqualTo("drakegpt: The CPU computes in fp32 or bf16, not in tf32; choose one of those, or a GPU.\n");
        assertThat(Cli.run("train", "--precision", "fp8").err())
                .isEqualTo("drakegpt: There is no precision 'fp8'; choose one of fp32, tf32, bf16.\n");
        assertThat(Cli.run("train", "--set", "device.fuse=often").err())
                .isEqualTo("drakegpt: device.fuse is \"often\"; set it to true or false.\n");
    }

    private static void assumeNoGpu() {
        assumeThat(Backends.providers())
                .filteredOn(provider -> provider.name().equals("cuda"))
                .noneMatch(BackendProvider::isPresent);
    }
}
