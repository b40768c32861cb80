package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.checkpoint.Safetensors;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GitLfsTest {
    private static final String POINTER =
            "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a".repeat(16) + "\nsize 84977\n";

    @TempDir
    Path folder;

    @Test
    void aPointerInPlaceOfAFileIsNamed() throws IOException {
        Path text = write("lyrics.txt");
        assertNamed(text, () -> TextSource.read(text, "Lyric"));
        Path csv = write("lyrics.csv");
        assertNamed(csv, () -> TextSource.read(csv, "Lyric"));
        Path weights = write("model.safetensors");
        assertNamed(weights, () -> Safetensors.read(weights));

        Corpus.prepare("to be or not to be").write(folder.resolve("corpus"));
        Path tokens = write("corpus/train.bin");
        assertNamed(tokens, () -> Corpus.read(folder.resolve("corpus")));
    }

    private Path write(String name) throws IOException {
        return Files.writeString(folder.resolve(name), POINTER, StandardCharsets.US_ASCII);
    }

    private static void assertNamed(Path file, ThrowingCallable reading) {
        assertThatThrownBy(reading)
                .isInstanceOf(IOException.class)
                .hasMessage(file + " is a pointer of Git LFS instead of the file itself; get that with git lfs pull.");
    }
}
