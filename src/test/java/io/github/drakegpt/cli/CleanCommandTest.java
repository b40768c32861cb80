package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CleanCommandTest {
    @TempDir
    Path temp;

    @Test
    void removesWhatSetupMadeAndNothingElse() throws IOException, InterruptedException {
        Files.writeString(temp.resolve("song.txt"), "la la\n".repeat(200));
        Path data = temp.resolve("data");
        for (String folder : new String[] {"one", "two", "sample", "pretrained"}) {
            String out = data.resolve(folder).toString();
            assertThat(Cli.run("setup", "--source", temp.resolve("song.txt").toString(), "--out", out)
                            .code())
                    .isZero();
        }
        Files.writeString(data.resolve("two/notes.txt"), "mine");
        Files.createDirectories(data.resolve("mine"));
        Files.writeString(data.resolve("mine/input.txt"), "mine");
        Files.createDirectories(data.resolve(".kaggle"));
        Files.writeString(data.resolve(".kaggle/song-lyrics-dataset.zip"), "zip");

        Cli.Result refused = Cli.runIn(temp, "clean");
        assertThat(refused.code()).isEqualTo(2);
        assertThat(refused.err())
                .isEqualTo("drakegpt: Nothing was removed, as there is no terminal to ask on; add --yes.\n");
        assertThat(refused.out()).contains("data/one", "data/two").doesNotContain("mine", "pretrained");
        assertThat(data.resolve("one/train.bin")).exists();

        Cli.Result cleaned = Cli.runIn(temp, "clean", "--yes");
        assertThat(cleaned.code()).isZero();
        assertThat(cleaned.out())
                .contains("Removed data/one\n", "Removed setup's files from data/two", "Removed data/.kaggle\n");
        assertThat(data.resolve("one")).doesNotExist();
        assertThat(data.resolve(".kaggle")).doesNotExist();
        assertThat(data.resolve("two").toFile().list()).containsExactly("notes.txt");
        assertThat(data.resolve("mine/input.txt")).exists();
        assertThat(data.resolve("sample/input.txt")).exists();
        assertThat(data.resolve("pretrained/input.txt")).exists();

        Cli.Result again = Cli.runIn(temp, "clean");
        assertThat(again.code()).isZero();
        assertThat(again.out()).startsWith("Nothing to remove");
    }
}
