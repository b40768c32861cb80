package io.github.drakegpt.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class Float16Test {
    @Test
    void everyNumberSurvives() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = Float16.toFloat((short) bits);
            if (Float.isNaN(value)) {
                assertThat(Float.isNaN(Float16.toFloat(Float16.of(value)))).isTrue();
            } else {
                assertThat(Float16.of(value) & 0xFFFF).isEqualTo(bits);
            }
        }
    }

    /** Half way between two neighbours, the one whose last bit is 0; beside it, the nearer one. */
    @Test
    void roundsToTheNearestTiesToEven() {
        for (int bits = 0; bits < 0x7BFF; bits++) {
            float low = Float16.toFloat((short) bits);
            float high = Float16.toFloat((short) (bits + 1));
            float middle = (low + high) / 2;
            assertThat((int) Float16.of(middle)).isEqualTo((bits & 1) == 0 ? bits : bits + 1);
            assertThat((int) Float16.of(Math.nextDown(middle))).isEqualTo(bits);
            assertThat((int) Float16.of(Math.nextUp(middle))).isEqualTo(bits + 1);
            assertThat(Float16.of(-middle) & 0x7FFF).isEqualTo(Float16.of(middle) & 0x7FFF);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "3C00, 1",
        "C000, -2",
        "7BFF, 65504",
        "0400, 0x1p-14",
        "0001, 0x1p-24",
        "03FF, 0x1.ff8p-15",
        "3555, 0x1.554p-2",
        "7C00, Infinity",
        "FC00, -Infinity",
        "8000, -0.0"
    })
    void hasTheNumbersOfTheStandard(String bits, String value) {
        assertThat(Float16.toFloat((short) Integer.parseInt(bits, 16)))
                .isEqualTo(Float.parseFloat(value + (value.contains("x") ? "f" : "")));
    }

    @Test
    void beyondTheLargestLiesInfinity() {
        assertThat(Float16.toFloat(Float16.of(65519.996f))).isEqualTo(65504);
        assertThat(Float16.toFloat(Float16.of(65520))).isEqualTo(Float.POSITIVE_INFINITY);
        assertThat(Float16.toFloat(Float16.of(-Float.MAX_VALUE))).isEqualTo(Float.NEGATIVE_INFINITY);
    }
}
