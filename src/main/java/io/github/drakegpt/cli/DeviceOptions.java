package io.github.drakegpt.cli;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import picocli.CommandLine.Option;

/** The options that choose where computation happens. */
final class DeviceOptions {
    @Option(
            names = "--device",
            paramLabel = "NAME",
            defaultValue = "auto",
            description = "auto, cpu or cuda (default: ${DEFAULT-VALUE}: the GPU if it can be used).")
    private String device;

    @Option(names = "--threads", paramLabel = "N", description = "CPU threads (default: all cores).")
    private Integer threads;

    Backend open() {
        return Backends.create(device, threads == null ? Runtime.getRuntime().availableProcessors() : threads);
    }
}
