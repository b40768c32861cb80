package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CorporaTest {
    @TempDir
    Path data;

    @Test
    void aGivenFolderIsUsed() throws IOException {
        Path folder = data.resolve("plain");
        CorpusFolderTest.CORPUS.write(folder);

        Corpora.Found found = Corpora.find(folder, data);

        assertThat(found.corpus().train()).isEqualTo(CorpusFolderTest.CORPUS.train());
        assertThat(found.description()).isEqualTo(folder.toString());
    }

    @Test
    void elseTheOneThatSetupMadeLast() throws IOException {
        make("a", 2_000);
        make("b", 3_000);
        make("c", 1_000);
        CorpusFolderTest.CORPUS.write(data.resolve("without-marker"));

        Corpora.Found found = Corpora.find(null, data);

        assertThat(found.corpus().name()).isEqualTo(data.resolve("b").toString());
        assertThat(found.description()).startsWith(data.resolve("b") + " ");
    }

    @Test
    void aDamagedLastOneIsNotPassedOver() throws IOException {
        make("a", 1_000);
        make("b", 2_000);
        Files.delete(data.resolve("b/val.bin"));

        assertThatThrownBy(() -> Corpora.find(null, data))
                .hasMessageStartingWith(data.resolve("b") + " has no val.bin");
    }

    @Test
    void elseTheBundledSample() throws IOException {
        Corpora.Found found = Corpora.find(null, data.resolve("missing"));

        assertThat(found.description()).startsWith("the bundled sample ").endsWith("lyrics.csv");
        assertThat(found.corpus().train().length + found.corpus().val().length).isEqualTo(601_053);
        assertThat(found.corpus().tokenizer().size()).isEqualTo(63);
    }

    @Test
    void whatSetupMadeLeavesOutLinksAndTheProjectsOwn() throws IOException {
        make("a", 1_000);
        make("sample", 1_000);
        make("pretrained", 1_000);
        CorpusFolderTest.CORPUS.write(data.resolve("without-marker"));
        Files.createSymbolicLink(data.resolve("link"), data.resolve("a"));

        assertThat(Corpora.made(data)).extracting(CorpusFolder::path).containsExactly(data.resolve("a"));
        assertThat(Corpora.made(data.resolve("missing"))).isEmpty();
    }

    private void make(String name, long modified) throws IOException {
        Path folder = data.resolve(name);
        new CorpusFolder(folder).write(CorpusFolderTest.CORPUS, CorpusFolderTest.INFO);
        Files.setLastModifiedTime(folder.resolve("corpus.json"), FileTime.fromMillis(modified));
    }
}
