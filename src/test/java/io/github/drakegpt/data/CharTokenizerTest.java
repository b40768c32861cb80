package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CharTokenizerTest {
    @TempDir
    Path folder;

    @Test
    void idsAreThePlacesInTheSortedSet() {
        CharTokenizer tokenizer = CharTokenizer.of("banana\n");

        assertThat(tokenizer.characters()).isEqualTo("\nabn");
        assertThat(tokenizer.size()).isEqualTo(4);
        assertThat(tokenizer.encode("nab\n")).containsExactly(3, 1, 2, 0);
        assertThat(tokenizer.decode(new int[] {2, 1, 3})).isEqualTo("ban");
        assertThat(tokenizer.decode(0)).isEqualTo("\n");
        assertThat(tokenizer).hasToString("\\nabn");
    }

    @Test
    void aCharacterIsACodePoint() {
        // U+FF5E sorts after the emoji's surrogates as Java chars, but before the emoji as a code point.
        CharTokenizer tokenizer = CharTokenizer.of("\uD83D\uDE00a\uFF5E");

        assertThat(tokenizer.size()).isEqualTo(3);
        assertThat(tokenizer.encode("a\uD83D\uDE00\uFF5E")).containsExactly(0, 2, 1);
        assertThat(tokenizer.decode(2)).isEqualTo("\uD83D\uDE00");
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5})
    void decodeUndoesEncode(int seed) {
        Random random = new Random(seed);
        int[] codePoints = random.ints(1000, 0, Character.MAX_CODE_POINT + 1)
                .filter(c -> c < Character.MIN_SURROGATE || c > Character.MAX_SURROGATE)
                .toArray();
        String text = new String(codePoints, 0, codePoints.length);
        CharTokenizer tokenizer = CharTokenizer.of(text);

        assertThat(tokenizer.encode(text)).hasSameSizeAs(codePoints);
        assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
    }

    @Test
    void namesTheCharactersThatAreNotInTheVocabulary() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> CharTokenizer.of("abc").encode("aé\u0007bé\uD83D\uDE00"))
                .withMessage("Not in the vocabulary: '\\u0007', 'é', '\uD83D\uDE00';"
                        + " leave such characters out, or train on a corpus that has them.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> CharTokenizer.of("x").encode("abcdefghijklm"))
                .withMessageContaining("'j' and 3 more;");
    }

    @Test
    void refusesIdsOutsideTheVocabulary() {
        CharTokenizer tokenizer = CharTokenizer.of("ab");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> tokenizer.decode(2))
                .withMessageContaining("Token 2");
        assertThatIllegalArgumentException().isThrownBy(() -> tokenizer.decode(new int[] {0, -1}));
    }

    @Test
    void refusesTextsThatGiveNoVocabulary() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> CharTokenizer.of(""))
                .withMessageContaining("empty");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> CharTokenizer.of("a\uD83D"))
                .withMessageContaining("\\ud83d");
    }

    @Test
    void holdsAsManyCharactersAsASixteenBitTokenCanName() {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < CharTokenizer.MAX_SIZE; i++) {
            text.appendCodePoint(0x10000 + i);
        }
        assertThat(CharTokenizer.of(text.toString()).size()).isEqualTo(65_536);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> CharTokenizer.of(text + "a"))
                .withMessageContaining("65537");
    }

    @Test
    void vocabIsAJsonArrayInIdOrder() throws IOException {
        Path file = folder.resolve("vocab.json");
        CharTokenizer tokenizer = CharTokenizer.of("\n\"\\é\uD83D\uDE00");
        tokenizer.write(file);

        assertThat(Files.readString(file)).isEqualTo("[\"\\n\",\"\\\"\",\"\\\\\",\"é\",\"\uD83D\uDE00\"]\n");
        assertThat(CharTokenizer.read(file)).isEqualTo(tokenizer).hasSameHashCodeAs(tokenizer);
        assertThat(CharTokenizer.read(file)).isNotEqualTo(CharTokenizer.of("a"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"", "[", "{}", "[]", "[1]", "[\"ab\"]", "[\"\"]", "[\"b\",\"a\"]", "[\"a\",\"a\"]", "[\"a\"] x"})
    void namesADamagedVocab(String json) throws IOException {
        Path file = folder.resolve("vocab.json");
        Files.writeString(file, json);

        assertThatThrownBy(() -> CharTokenizer.read(file))
                .isInstanceOf(IOException.class)
                .hasMessageStartingWith(file + " ")
                .hasMessageEndingWith("run setup again to write it anew.");
    }

    @Test
    void whatWouldControlATerminalIsEscaped() {
        assertThat(CharTokenizer.printableLines("a\u001b[31m\u202e\u009bb\r\n\tc\u00e9"))
                .isEqualTo("a\\u001b[31m\\u202e\\u009bb\\u000d\n\tc\u00e9");
    }
}
