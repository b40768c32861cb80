package io.github.drakegpt.cli;

import java.util.OptionalDouble;
import picocli.CommandLine.Option;

/** The option for the style of progress. */
final class ProgressOptions {
    /** Style of the progress on stderr; {@code train.log} gets everything. */
    enum Style {
        /** A bar on a terminal, lines elsewhere. */
        AUTO,
        /** A bar, evaluations above it. */
        BAR,
        /** Lines only. */
        PLAIN,
        /** Nothing but warnings. */
        NONE
    }

    private static final double SECONDS_BETWEEN_LINES = 5;

    @Option(
            names = "--progress",
            paramLabel = "STYLE",
            defaultValue = "auto",
            description =
                    "How training is shown: bar, plain lines, none, or auto (default: a bar on a terminal, else lines).")
    private Style style;

    private SettingsTable shown = SettingsTable.EMPTY;

    /**
     * Shows a run; of its settings only those that differ from the run that was shown before.
     *
     * @param secondsAtPeak that a step would take if the device did nothing but multiply
     */
    Progress show(SettingsTable settings, OptionalDouble secondsAtPeak) {
        Style resolved = style != Style.AUTO ? style : Terminal.canDraw() ? Style.BAR : Style.PLAIN;
        Progress progress = new Progress(resolved, settings, shown, secondsAtPeak, SECONDS_BETWEEN_LINES);
        shown = settings;
        return progress;
    }
}
