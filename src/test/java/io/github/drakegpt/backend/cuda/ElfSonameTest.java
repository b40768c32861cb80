package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class ElfSonameTest {
    private static final String FROM = "libcublas.so.12";
    private static final String TO = "libcublas.so.13";

    private static byte[] library;

    @BeforeAll
    static void readJCudasLibrary() throws IOException {
        try (InputStream in = ElfSonameTest.class.getResourceAsStream("/lib/libJCublas2-12.6.0-linux-x86_64.so")) {
            library = in.readAllBytes();
        }
    }

    @Test
    void changesTheNameAndTheHashAndNothingElse() throws IOException {
        byte[] changed = ElfSoname.replace(library, FROM, TO);

        assertThat(changed).hasSameSizeAs(library);
        int different = 0;
        for (int i = 0; i < library.length; i++) {
            different += library[i] == changed[i] ? 0 : 1;
        }
        assertThat(different).isEqualTo(2); // the last digit of the name, and with it the lowest byte of the hash
        assertThat(ElfSoname.replace(changed, TO, FROM)).isEqualTo(library);
    }

    @Test
    void refusesALibraryThatNeedsSomethingElse() {
        assertThatThrownBy(() -> ElfSoname.replace(library, "libother.so.12", "libother.so.13"))
                .isInstanceOf(IOException.class)
                .hasMessage(
                        "The library that should need libother.so.12 does not, or is damaged; build DrakeGPT again.");
    }

    @Test
    void refusesATruncatedLibrary() {
        for (int length = 0; length < library.length; length += 1 + length / 7) {
            byte[] truncated = Arrays.copyOf(library, length);
            assertThatThrownBy(() -> ElfSoname.replace(truncated, FROM, TO))
                    .as("%d bytes", length)
                    .isInstanceOf(IOException.class)
                    .hasMessageEndingWith("build DrakeGPT again.");
        }
    }

    @Test
    void survivesDamageAnywhereInTheTables() {
        Random random = new Random(42);
        int tables = (library[0x28] & 0xff) | (library[0x29] & 0xff) << 8 | (library[0x2a] & 0xff) << 16;
        int refused = 0;
        for (int i = 0; i < 500; i++) {
            byte[] damaged = library.clone();
            for (int j = 0; j < 200; j++) {
                damaged[tables + random.nextInt(library.length - tables)] = (byte) random.nextInt();
            }
            damaged[0x14ba0 + random.nextInt(0x170)] = (byte) random.nextInt(); // in the list of versions
            try {
                ElfSoname.replace(damaged, FROM, TO);
            } catch (IOException e) {
                assertThat(e).hasMessageEndingWith("build DrakeGPT again.");
                refused++;
            }
        }
        assertThat(refused).isPositive();
    }
}
