package io.github.drakegpt.train;

import io.github.drakegpt.data.MemoryFolder;
import io.github.drakegpt.data.Mutants;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Damaged settings: a user's own file, so that errors are those of bad usage. */
class SettingsFuzzTest {
    private static final Path CONFIGS = Path.of("src/main/resources/config");

    @TempDir(factory = MemoryFolder.class)
    Path folder;

    @Test
    void yaml() throws Exception {
        List<byte[]> files = Mutants.contents(
                CONFIGS.resolve("default.yaml"), CONFIGS.resolve("laptop.yaml"), CONFIGS.resolve("quant-laptop.yaml"));
        Mutants.Reader reader = file -> {
            Settings settings = new Settings().overlay(file.toString());
            settings.model(65);
            settings.train();
            settings.device();
        };
        new Mutants("yaml", files, reader)
                .survive(folder.resolve("x.yaml"), List.of(IllegalArgumentException.class, IOException.class));
    }
}
