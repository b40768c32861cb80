package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CorpusTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({"2,1", "9,8", "10,9", "11,9", "19,17", "1003,902"})
    void theFirstNineTenthsAreTrain(int length, int train) {
        Corpus corpus = Corpus.prepare("\uD83D\uDE00".repeat(length));

        assertThat(corpus.train()).hasSize(train);
        assertThat(corpus.val()).hasSize(length - train);
    }

    @Test
    void tokensFollowTheText() {
        Corpus corpus = Corpus.prepare("cabbaababc");

        assertThat(corpus.tokenizer().characters()).isEqualTo("abc");
        assertThat(corpus.train()).containsExactly(new char[] {2, 0, 1, 1, 0, 0, 1, 0, 1});
        assertThat(corpus.val()).containsExactly(new char[] {2});
    }

    @Test
    void refusesTooShortATextToSplit() {
        assertThatIllegalArgumentException().isThrownBy(() -> Corpus.prepare(""));
        assertThatIllegalArgumentException().isThrownBy(() -> Corpus.prepare("a"));
    }

    @Test
    void filesAreTheTextAndLittleEndianTokens() throws IOException {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 300; i++) {
            text.appendCodePoint(0x4e00 + i);
        }
        Path out = folder.resolve("new/corpus");
        Corpus corpus = Corpus.prepare(text.toString());
        corpus.write(out);

        assertThat(Files.readString(out.resolve("input.txt"))).isEqualTo(text.toString());
        byte[] train = Files.readAllBytes(out.resolve("train.bin"));
        assertThat(train).hasSize(540);
        assertThat(train[2 * 258]).isEqualTo((byte) 2);
        assertThat(train[2 * 258 + 1]).isEqualTo((byte) 1);
        assertThat(Files.size(out.resolve("val.bin"))).isEqualTo(60);

        Corpus read = Corpus.read(out);
        assertThat(read.tokenizer()).isEqualTo(corpus.tokenizer());
        assertThat(read.train()).isEqualTo(corpus.train());
        assertThat(read.val()).isEqualTo(corpus.val());
        assertThat(read.name()).isEqualTo(out.toString());
    }

    @Test
    void namesAFolderThatIsMissingOrNone() throws IOException {
        assertThatThrownBy(() -> Corpus.read(folder.resolve("x"))).isInstanceOf(NoSuchFileException.class);
        Path file = Files.writeString(folder.resolve("file"), "text");
        assertThatThrownBy(() -> Corpus.read(file)).isInstanceOf(NotDirectoryException.class);
    }

    @Test
    void aTextWithoutTokensNeedsSetup() throws IOException {
        Files.writeString(folder.resolve("input.txt"), "text");

        assertThatThrownBy(() -> Corpus.read(folder))
                .hasMessageContaining("run setup --source " + folder.resolve("input.txt"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"train.bin", "val.bin", "vocab.json"})
    void namesAMissingFile(String file) throws IOException {
        Corpus.prepare("hello world").write(folder);
        Files.delete(folder.resolve("input.txt"));
        assertThat(Corpus.read(folder).train()).hasSize(9);
        Files.delete(folder.resolve(file));

        assertThatThrownBy(() -> Corpus.read(folder))
                .hasMessageStartingWith(folder + " has no " + file)
                .hasMessageContaining("run setup");
    }

    @Test
    void namesDamagedTokens() throws IOException {
        Corpus.prepare("hello world").write(folder);
        Path val = folder.resolve("val.bin");

        Files.write(val, new byte[] {1, 0, 1});
        assertThatThrownBy(() -> Corpus.read(folder)).hasMessageStartingWith(val + " has 3 bytes");
        Files.write(val, new byte[0]);
        assertThatThrownBy(() -> Corpus.read(folder)).hasMessageStartingWith(val + " has 0 bytes");
        Files.write(val, new byte[] {7, 0, 8, 0});
        assertThatThrownBy(() -> Corpus.read(folder)).hasMessageStartingWith(val + " has token 8");
        Files.write(val, new byte[] {7, 0, (byte) 0xff, (byte) 0xff});
        assertThatThrownBy(() -> Corpus.read(folder)).hasMessageStartingWith(val + " has token 65535");
    }
}
