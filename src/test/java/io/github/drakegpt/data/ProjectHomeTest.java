package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProjectHomeTest {
    @TempDir
    Path folder;

    @Test
    void theWorkingDirectoryComesBeforeHome() throws IOException {
        Path work = Files.createDirectories(folder.resolve("work"));
        Path home = Files.createDirectories(folder.resolve("home"));
        Files.writeString(home.resolve("a"), "home");

        assertThat(ProjectHome.find("a", work, Optional.of(home))).contains(home.resolve("a"));
        Files.writeString(work.resolve("a"), "work");
        assertThat(ProjectHome.find("a", work, Optional.of(home))).contains(work.resolve("a"));
        assertThat(ProjectHome.find("b", work, Optional.of(home))).isEmpty();
        assertThat(ProjectHome.find("b", work, Optional.empty())).isEmpty();
    }

    @Test
    void homeIsTheNearestFolderAboveTheJarThatHasTheSample() throws IOException {
        Path jar = folder.resolve("project/target/drakegpt.jar");
        assertThat(ProjectHome.above(jar)).isEmpty();
        Path sample = folder.resolve("project/data/sample/lyrics.csv");
        Files.createDirectories(sample.getParent());
        Files.writeString(sample, "Lyric\nla\n");
        assertThat(ProjectHome.above(jar)).contains(folder.resolve("project"));
    }

    @Test
    void whatMustBeThereIsAskedForByName() throws IOException {
        assertThat(ProjectHome.require(ProjectHome.SAMPLE)).isRegularFile();
        assertThatThrownBy(() -> ProjectHome.require("data/no-such"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("data/no-such")
                .hasMessageContaining("-Ddrakegpt.home");
    }
}
