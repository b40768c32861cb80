package io.github.drakegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.tensor.Precision;
import org.junit.jupiter.api.Test;

class BackendsTest {
    @Test
    void providersAreFoundWhateverTheContextClassLoaderSees() {
        Thread thread = Thread.currentThread();
        ClassLoader before = thread.getContextClassLoader();
        thread.setContextClassLoader(ClassLoader.getPlatformClassLoader());
        try {
            assertThat(Backends.providers()).extracting(BackendProvider::name).contains("cuda", "cpu");
        } finally {
            thread.setContextClassLoader(before);
        }
    }

    /** Where there is a GPU it computes in tf32. */
    @Test
    void autoThatFindsNoDeviceSaysWhy() {
        BackendOptions options = new BackendOptions(1, Precision.TF32, true);
        try (Backend gpu = Backends.create("auto", options)) {
            assertThat(gpu.name()).isEqualTo("cuda");
        } catch (IllegalArgumentException e) {
            assertThat(e)
                    .hasMessageStartingWith("No device can be used: ")
                    .hasMessageEndingWith(
                            "cpu: The CPU computes in fp32 or bf16, not in tf32; choose one of those, or a GPU.");
        }
    }

    @Test
    void anUnknownDeviceIsRefusedWithThoseThatThereAre() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Backends.create("tpu", 1))
                .withMessage("There is no device 'tpu'; choose auto or one of: cuda, cpu.");
    }
}
