package io.github.drakegpt.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class Bfloat16Test {
    @Test
    void whatIsABfloat16StaysIt() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = Bfloat16.toFloat((char) bits);
            if (!Float.isNaN(value)) {
                assertThat((int) Bfloat16.of(value)).isEqualTo(bits);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "0x1.00fp0, 0x1.0p0",
        "0x1.01p0, 0x1.0p0", // a tie, to the even one
        "0x1.03p0, 0x1.04p0", // a tie, to the even one
        "0x1.011p0, 0x1.02p0",
        "-0x1.03p0, -0x1.04p0",
        "0x1.fffffep127, Infinity",
        "-Infinity, -Infinity",
        "0x1.0p-149, 0"
    })
    void roundsToTheNearest(String value, String rounded) {
        assertThat(Bfloat16.toFloat(Bfloat16.of(Float.parseFloat(value)))).isEqualTo(Float.parseFloat(rounded));
    }

    @Test
    void nanStaysNan() {
        assertThat(Bfloat16.toFloat(Bfloat16.of(Float.intBitsToFloat(0x7F80_0001))))
                .isNaN();
    }
}
