package io.github.drakegpt.cli;

import io.github.drakegpt.tensor.Precision;

/**
 * The settings of the device.
 *
 * @param precision the name of a {@link Precision}
 * @param fuse whether a GPU may do several operations in one kernel
 */
record DeviceSettings(String precision, boolean fuse) {
    static final DeviceSettings DEFAULT = new DeviceSettings(Precision.FP32.label(), true);

    /** @throws IllegalArgumentException if there is no such precision */
    DeviceSettings {
        Precision.of(precision);
    }
}
