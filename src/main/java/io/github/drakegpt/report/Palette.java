package io.github.drakegpt.report;

import java.util.List;

/**
 * Colours and dashes of runs' lines. The colours are distinct for people who lack one of the three kinds of cones, and
 * each has a contrast of at least 3 to 1 with its background (PaletteTest measures both).
 */
public final class Palette {
    /** Background of the light colours. */
    public static final String LIGHT_BACKGROUND = "#ffffff";
    /** Background of the dark theme's colours. */
    public static final String DARK_BACKGROUND = "#181b20";

    /** A run's colour on either background, as {@code #rrggbb}. */
    public record Colour(String light, String dark) {}

    /** Colours in the order in which runs take them. */
    public static final List<Colour> COLOURS = List.of(
            new Colour("#2e3ba5", "#6985ed"), // blue
            new Colour("#bd4812", "#fed3a5"), // orange
            new Colour("#03a47e", "#1bc29f"), // green
            new Colour("#8756c8", "#c4a1fe"), // violet
            new Colour("#bd8706", "#dba635"), // gold
            new Colour("#910300", "#ed5446"), // red
            new Colour("#147685", "#6be9fe"), // cyan
            new Colour("#702767", "#c260a7")); // plum

    /** Lengths of dashes and gaps, in pixels, of the first eight runs' lines (none: solid), the next eight's, and so on. */
    public static final List<List<Integer>> DASHES = List.of(List.of(), List.of(14, 3), List.of(14, 3, 3, 3));

    /** Dashes of the training split's losses, whose lines are thinner too. */
    public static final List<Integer> TRAIN_DASH = List.of(3, 3);

    private Palette() {}

    /** The colour of a run, counted from 0. */
    public static Colour colour(int run) {
        return COLOURS.get(run % COLOURS.size());
    }

    /** The dashes of a run's line. */
    public static List<Integer> dash(int run) {
        return DASHES.get(run / COLOURS.size() % DASHES.size());
    }
}
