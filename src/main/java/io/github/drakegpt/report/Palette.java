package io.github.drakegpt.report;

import io.github.drakegpt.model.Stage;
import java.util.BitSet;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Colours and marks of runs' lines. The colours are distinct for people who lack one of the three kinds of cones, and
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
            new Colour("#702767", "#c260a7"), // plum
            new Colour("#15191e", "#ffffec")); // ink

    /** A dot at each evaluation. */
    public enum Mark {
        NONE,
        FULL,
        HOLLOW;

        /** The name in the page's data. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Dashes of the training split's losses, whose lines are thinner too; no other line is dashed. */
    public static final List<Integer> TRAIN_DASH = List.of(3, 3);

    private static final int SLOTS = COLOURS.size() * Mark.values().length;

    private Palette() {}

    /** The colour of a slot. */
    public static Colour colour(int slot) {
        return COLOURS.get(slot % COLOURS.size());
    }

    /** The marks of a slot's lines: slots of the same colour have different ones. */
    public static Mark mark(int slot) {
        return Mark.values()[slot / COLOURS.size() % Mark.values().length];
    }

    /**
     * A slot for each group, all different as far as there are slots. Each takes the one of its model's stage if it is free,
     * else one of no stage, else any; older groups choose first, so that they keep theirs when newer ones are added.
     */
    public static List<Integer> slots(List<SeedGroup> groups) {
        Map<SeedGroup, Integer> slots = new IdentityHashMap<>();
        BitSet taken = new BitSet(SLOTS);
        groups.stream()
                .sorted(Comparator.comparing(SeedGroup::created).thenComparing(SeedGroup::name))
                .forEach(group -> {
                    int slot = IntStream.of(Stage.ALL.indexOf(group.stage()), Stage.ALL.size())
                            .filter(wanted -> !taken.get(wanted))
                            .findFirst()
                            .orElse(taken.nextClearBit(0));
                    taken.set(slot);
                    slots.put(group, slot);
                    if (taken.cardinality() == SLOTS) {
                        taken.clear();
                    }
                });
        return groups.stream().map(slots::get).toList();
    }
}
