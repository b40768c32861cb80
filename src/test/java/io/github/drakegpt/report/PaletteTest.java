package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PaletteTest {
    @TempDir
    Path temp;

    /** In OKLab (Ottosson, 2020), where 0.02 is about what can just be told apart side by side. */
    private static final double LEAST_DISTANCE = 0.1;
    /** What WCAG 2.2 (1.4.11) asks of graphics. */
    private static final double LEAST_CONTRAST = 3;

    /**
     * Kinds of colour vision, as matrices over linear red, green and blue: Machado, Oliveira and Fernandes, "A
     * Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, at severity 1.
     */
    private enum Vision {
        NORMAL(1, 0, 0, 0, 1, 0, 0, 0, 1),
        PROTANOPIA(0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998),
        DEUTERANOPIA(0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881),
        TRITANOPIA(1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900);

        private final double[] matrix;

        Vision(double... matrix) {
            this.matrix = matrix;
        }

        double[] see(String colour) {
            double[] seen = times(matrix, linear(colour));
            for (int i = 0; i < 3; i++) {
                seen[i] = Math.max(0, Math.min(1, seen[i]));
            }
            return seen;
        }
    }

    @ParameterizedTest
    @EnumSource
    void everyPairCanBeToldApart(Vision vision) {
        List<Function<Palette.Colour, String>> themes = List.of(Palette.Colour::light, Palette.Colour::dark);
        for (Function<Palette.Colour, String> theme : themes) {
            for (Palette.Colour a : Palette.COLOURS) {
                for (Palette.Colour b : Palette.COLOURS) {
                    if (a != b) {
                        assertThat(distance(vision.see(theme.apply(a)), vision.see(theme.apply(b))))
                                .as("%s and %s", theme.apply(a), theme.apply(b))
                                .isGreaterThan(LEAST_DISTANCE);
                    }
                }
            }
        }
    }

    @Test
    void everyColourStandsOutFromItsBackground() {
        assertThat(contrast("#000000", "#ffffff")).isEqualTo(21);
        for (Palette.Colour colour : Palette.COLOURS) {
            assertThat(contrast(colour.light(), Palette.LIGHT_BACKGROUND))
                    .as(colour.light())
                    .isGreaterThan(LEAST_CONTRAST);
            assertThat(contrast(colour.dark(), Palette.DARK_BACKGROUND))
                    .as(colour.dark())
                    .isGreaterThan(LEAST_CONTRAST);
        }
    }

    @Test
    void slotsOfOneColourHaveOtherMarks() {
        assertThat(Palette.colour(12)).isEqualTo(Palette.colour(3)).isEqualTo(Palette.colour(21));
        assertThat(Palette.mark(12)).isNotEqualTo(Palette.mark(3)).isNotEqualTo(Palette.mark(21));
        assertThat(Palette.mark(199)).isNotNull();
    }

    @Test
    void aRunKeepsItsSlotWhenNewerOnesAreAdded() throws IOException {
        Path corpus = TestRuns.create(temp.resolve("z"), Models.SINGLE_HEAD, 1, "lyrics", 2);
        Path other = TestRuns.create(temp.resolve("y"), Models.SINGLE_HEAD, 1, "others", 2);
        List<Path> before = List.of(corpus, other);
        List<Path> after = new ArrayList<>(before);
        for (int i = 0; i < 20; i++) {
            Path newer = TestRuns.create(temp.resolve("a" + i), Models.NAMES.get(i % 6), i, "more" + i, 2);
            Files.setLastModifiedTime(newer.resolve(RunFolder.VOCAB), FileTime.fromMillis(Long.MAX_VALUE / 2 + i));
            after.add(0, newer);
        }

        assertThat(slots(before)).containsExactlyInAnyOrder(1, 8); // of their stage, and of none
        List<Integer> slots = slots(after);
        assertThat(slots).doesNotHaveDuplicates().endsWith(slots(before).toArray(Integer[]::new));
    }

    @Test
    void thereMayBeMoreRunsThanSlots() throws IOException {
        List<Path> folders = new ArrayList<>();
        for (int i = 0; i < 60; i++) {
            folders.add(TestRuns.create(temp.resolve("a" + i), Models.BIGRAM, 1, "corpus" + i, 2));
        }
        assertThat(slots(folders)).hasSize(60).allMatch(slot -> slot >= 0 && slot < 27);
        assertThat(Set.copyOf(slots(folders))).hasSize(27);
    }

    private static List<Integer> slots(List<Path> folders) throws IOException {
        return Palette.slots(SeedGroup.of(RunReport.read(folders)));
    }

    private static double[] linear(String colour) {
        double[] rgb = new double[3];
        for (int i = 0; i < 3; i++) {
            double value = Integer.parseInt(colour.substring(1 + 2 * i, 3 + 2 * i), 16) / 255.0;
            rgb[i] = value <= 0.04045 ? value / 12.92 : Math.pow((value + 0.055) / 1.055, 2.4);
        }
        return rgb;
    }

    private static double luminance(String colour) {
        double[] rgb = linear(colour);
        return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
    }

    private static double contrast(String a, String b) {
        double lighter = Math.max(luminance(a), luminance(b));
        double darker = Math.min(luminance(a), luminance(b));
        return (lighter + 0.05) / (darker + 0.05);
    }

    private static double distance(double[] a, double[] b) {
        double[] labA = oklab(a);
        double[] labB = oklab(b);
        return Math.hypot(Math.hypot(labA[0] - labB[0], labA[1] - labB[1]), labA[2] - labB[2]);
    }

    private static double[] oklab(double[] linear) {
        double[] lms = times(
                new double[] {
                    0.4122214708, 0.5363325363, 0.0514459929, //
                    0.2119034982, 0.6806995451, 0.1073969566, //
                    0.0883024619, 0.2817188376, 0.6299787005
                },
                linear);
        for (int i = 0; i < 3; i++) {
            lms[i] = Math.cbrt(lms[i]);
        }
        return times(
                new double[] {
                    0.2104542553, 0.7936177850, -0.0040720468, //
                    1.9779984951, -2.4285922050, 0.4505937099, //
                    0.0259040371, 0.7827717662, -0.8086757660
                },
                lms);
    }

    private static double[] times(double[] matrix, double[] vector) {
        double[] product = new double[3];
        for (int i = 0; i < 9; i++) {
            product[i / 3] += matrix[i] * vector[i % 3];
        }
        return product;
    }
}
