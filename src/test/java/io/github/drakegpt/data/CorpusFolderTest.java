package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CorpusFolderTest {
    static final Corpus CORPUS = Corpus.prepare("hello world");
    static final CorpusInfo INFO = new CorpusInfo("my.csv", "Lyric", 11, 8, "2026-11-23T00:00:00Z");

    @TempDir
    Path temp;

    private Path path;
    private CorpusFolder folder;

    @BeforeEach
    void newFolder() {
        path = temp.resolve("data/mine");
        folder = new CorpusFolder(path);
    }

    @Test
    void writesACorpusAndWhereItCameFrom() throws IOException {
        folder.write(CORPUS, INFO);

        assertThat(Corpus.read(path).train()).isEqualTo(CORPUS.train());
        assertThat(folder.info().orElseThrow().with(Map.of())).isEqualTo(INFO);
        JsonNode json = new ObjectMapper().readTree(path.resolve("corpus.json").toFile());
        assertThat(json.fieldNames())
                .toIterable()
                .containsExactly("made_by", "source", "column", "characters", "vocabulary_size", "date", "sha256");
        assertThat(json.get("vocabulary_size").intValue()).isEqualTo(8);
    }

    @ParameterizedTest
    @ValueSource(strings = {"train.bin", "val.bin", "vocab.json"})
    void aFileThatHasChangedIsNamed(String name) throws IOException {
        folder.write(CORPUS, INFO);
        Path file = path.resolve(name);
        byte[] bytes = Files.readAllBytes(file);
        bytes[2] ^= 1;
        Files.write(file, bytes);

        assertThatThrownBy(() -> Corpus.read(path))
                .isInstanceOf(IOException.class)
                .hasMessage(
                        file + " has changed since setup wrote it: its SHA-256 sum is not the one in corpus.json; run"
                                + " setup again, or remove the sum there if you changed it yourself.");
        ObjectNode json = (ObjectNode)
                new ObjectMapper().readTree(path.resolve("corpus.json").toFile());
        json.remove("sha256");
        new ObjectMapper().writeValue(path.resolve("corpus.json").toFile(), json);
        if (!name.equals("vocab.json")) {
            assertThat(Corpus.read(path).name()).isEqualTo(path.toString());
        }
    }

    @Test
    void writesAgainInPlace() throws IOException {
        folder.write(CORPUS, INFO);
        folder.write(Corpus.prepare("other"), new CorpusInfo("b.txt", null, 5, 5, "2026-11-24T00:00:00Z"));

        assertThat(Corpus.read(path).tokenizer().characters()).isEqualTo("ehort");
        assertThat(folder.info().orElseThrow().column()).isNull();
    }

    @Test
    void writesIntoAnEmptyFolderAndOneWhereSetupWasKilled() throws IOException {
        Files.createDirectories(path);
        Files.writeString(path.resolve(".train.bin.0123abcd.tmp"), "half");

        folder.write(CORPUS, INFO);

        assertThat(folder.remove()).isTrue();
        assertThat(path).doesNotExist();
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{}", "{\"source\":\"x\",\"characters\":1}", "not json"})
    void refusesAFolderThatSetupDidNotMake(String marker) throws IOException {
        Files.createDirectories(path);
        Files.writeString(path.resolve("input.txt"), "precious");
        Files.writeString(path.resolve("corpus.json"), marker);

        assertThatThrownBy(folder::checkWritable).hasMessageContaining("choose another folder with --out");
        assertThatThrownBy(() -> folder.write(CORPUS, INFO)).hasMessageStartingWith(path + " is there already");
        assertThatThrownBy(folder::remove).hasMessageContaining("not made by setup");
        assertThat(Files.readString(path.resolve("input.txt"))).isEqualTo("precious");
        assertThat(path.resolve("train.bin")).doesNotExist();
    }

    @Test
    void refusesAFile() throws IOException {
        Files.createDirectories(path.getParent());
        Files.writeString(path, "precious");

        assertThatThrownBy(() -> folder.write(CORPUS, INFO)).isInstanceOf(FileAlreadyExistsException.class);
        assertThat(Files.readString(path)).isEqualTo("precious");
    }

    @Test
    void aFailedWriteNamesTheFileAndLeavesNoTemporaries() throws IOException {
        folder.write(CORPUS, INFO);
        // A folder in the way of a file makes the write fail after everything is staged.
        Files.delete(path.resolve("val.bin"));
        Files.createDirectories(path.resolve("val.bin/x"));

        assertThatThrownBy(() -> folder.write(CORPUS, INFO))
                .hasMessageStartingWith("Could not write " + path.resolve("val.bin"));
        try (var files = Files.list(path)) {
            assertThat(files).noneMatch(file -> file.toString().endsWith(".tmp"));
        }
    }

    @Test
    void removesOnlyWhatSetupWrote() throws IOException {
        folder.write(CORPUS, INFO);
        Files.writeString(path.resolve("notes.txt"), "mine");
        Files.writeString(path.resolve(".input.txt.0123abcd.tmp"), "half");

        assertThat(folder.remove()).isFalse();
        assertThat(path).isDirectoryContaining("glob:**/notes.txt");
        try (var files = Files.list(path)) {
            assertThat(files).hasSize(1);
        }
    }

    @Test
    void aFolderWithoutWritePermissionIsNamed() throws IOException {
        Files.createDirectories(path);
        assumeThat(path.toFile().setWritable(false)).isTrue();
        assumeThat(Files.isWritable(path)).as("root may write everywhere").isFalse();

        assertThatThrownBy(() -> folder.write(CORPUS, INFO))
                .isInstanceOf(AccessDeniedException.class)
                .hasMessage(path.toString());
    }
}
