package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.train.DeviceSettings;
import io.github.drakegpt.train.Settings;
import java.io.IOException;
import java.util.Map;
import picocli.CommandLine.Option;

/** The options that choose the device. */
final class DeviceOptions {
    @Option(
            names = "--device",
            paramLabel = "auto|cpu|cuda",
            completionCandidates = Candidates.OfDevices.class,
            defaultValue = "auto",
            description = "auto, cpu or cuda (default: ${DEFAULT-VALUE}: the GPU if it can be used).")
    private String device;

    @Option(names = "--threads", paramLabel = "N", description = "CPU threads (default: all cores).")
    private Integer threads;

    @Option(
            names = "--precision",
            paramLabel = "fp32|bf16|tf32",
            completionCandidates = Candidates.OfPrecisions.class,
            description = "Precision of matrix products: fp32, bf16 or, on a GPU, tf32 (default: fp32).")
    private String precision;

    /** Copies the given options into a run's settings. */
    void layOver(Settings settings) {
        if (precision != null) {
            settings.set("device.precision", TextNode.valueOf(precision), "--precision");
        }
    }

    /** Divides the cores among so many processes that may use the same, unless a number of threads was given. */
    void shareCores(int processes) {
        if (threads == null) {
            threads = Math.max(1, Runtime.getRuntime().availableProcessors() / processes);
        }
    }

    boolean changesSettings() {
        return precision != null;
    }

    /** The device for work that has no settings of its own. */
    Backend open() {
        return open(new DeviceSettings(
                precision == null ? DeviceSettings.DEFAULT.precision() : precision, DeviceSettings.DEFAULT.fuse()));
    }

    Backend open(DeviceSettings settings) {
        int cores = Runtime.getRuntime().availableProcessors();
        return Backends.create(
                device,
                new BackendOptions(
                        threads == null ? cores : threads, Precision.of(settings.precision()), settings.fuse()));
    }

    /** Facts about the device of an open backend and its libraries: names and values to show. */
    Map<String, String> facts(Backend backend) throws IOException {
        String provider = device.equals("auto") ? backend.name() : device;
        for (BackendProvider candidate : Backends.providers()) {
            if (candidate.name().equals(provider)) {
                return candidate.facts();
            }
        }
        throw new IllegalStateException("No provider is called " + provider);
    }
}
