package io.github.drakegpt.train;

import io.github.drakegpt.tensor.Precision;

/**
 * The settings of the device.
 *
 * @param precision the name of a {@link Precision}
 * @param fuse whether a GPU may do several operations in one kernel
 */
public record DeviceSettings(String precision, boolean fuse) {
    /** Those of {@code default}. */
    public static final DeviceSettings DEFAULT = new DeviceSettings(Precision.FP32.label(), true);

    /** @throws IllegalArgumentException if there is no such precision */
    public DeviceSettings {
        Precision.of(precision);
    }
}
