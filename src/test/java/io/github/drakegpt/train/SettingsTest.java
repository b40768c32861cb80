package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SettingsTest {
    @TempDir
    Path temp;

    @Test
    void laterSettingsLieOverEarlierOnes() throws IOException {
        Path file =
                Files.writeString(temp.resolve("my.yaml"), "train: {iters: 7, max_lr: 0.5}\nmodel: {numHeads: 2}\n");

        Settings settings =
                new Settings().overlay("laptop").overlay(file.toString()).assign("train.iters=9", "--set");

        assertThat(settings.train().iters()).isEqualTo(9);
        assertThat(settings.train().maxLr()).isEqualTo(0.5);
        assertThat(settings.train().schedule()).isEqualTo(Schedule.COSINE);
        assertThat(settings.model(10).numHeads()).isEqualTo(2);
        assertThat(settings.model(10).embeddingDim()).isEqualTo(128);
        assertThat(settings.model(10).vocabSize()).isEqualTo(10);
    }

    @Test
    void everyValueHasASource() throws IOException {
        Path file = Files.writeString(temp.resolve("my.yaml"), "train: {iters: 7, maxLr: 0.5}\n");

        Settings settings =
                new Settings().overlay("laptop").overlay(file.toString()).assign("train.iters=9", "--set");

        assertThat(settings.source("train.iters")).isEqualTo("--set");
        assertThat(settings.source("train.max_lr")).isEqualTo(file.toString());
        assertThat(settings.source("model.embedding_dim")).isEqualTo("laptop");
        assertThat(settings.source("device.fuse")).isEqualTo("default");
    }

    @Test
    void keysMayBeWrittenEitherWay() {
        Settings settings =
                new Settings().assign("model.finalNorm=false", "--set").assign("TRAIN.batch_size = 3", "--set");

        assertThat(settings.model(10).finalNorm()).isFalse();
        assertThat(settings.train().batchSize()).isEqualTo(3);
    }

    @Test
    void seedsAreLong() {
        assertThat(new Settings()
                        .assign("train.seed=-9223372036854775808", "--set")
                        .train()
                        .seed())
                .isEqualTo(Long.MIN_VALUE);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "train.iters=99999999999",
                "train.seed=99999999999999999999",
                "train.max_lr=fast",
                "train.max_lr=[1]",
                "model.final_norm=1",
                "train.betas=0.9",
                "train.betas=[a, b]",
                "model.name=3",
                "train.iters=null"
            })
    void valuesOfAnotherTypeAreRefused(String assignment) {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Settings().assign(assignment, "--set"))
                .withMessageStartingWith(assignment.substring(0, assignment.indexOf('=')) + " is ")
                .withMessageContaining("; set it to ");
    }

    @ParameterizedTest
    @ValueSource(strings = {"trian.iters=3", "iters=3", "train.iters.x=3", "model.vocab_size=3", "train..iters=3"})
    void unknownKeysAreRefused(String assignment) {
        assertThatIllegalArgumentException().isThrownBy(() -> new Settings().assign(assignment, "--set"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "just words", "[1, 2]", "train: 3", "train: {iters: [}", "train: {iterz: 3}", "train:"})
    void filesThatAreNoSettingsAreRefused(String yaml) throws IOException {
        Path file = Files.writeString(temp.resolve("my.yaml"), yaml);

        assertThatIllegalArgumentException().isThrownBy(() -> new Settings().overlay(file.toString()));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "train:\\n  max_lr: 1.0\\n  max_lr: 2.0 | sets a key that is set above it already (line 3)",
                "train:\\n  max_lr: 1.0\\n---\\ntrain:\\n  max_lr: 2.0 | has a second document (line 4)",
                "train:\\n  seed: 0042 | has the number 0042, which YAML reads as an octal one (line 2)",
                "train:\\n  betas: [0.9,\\n007] | has the number 007, which YAML reads as an octal one (line 3)",
                "train:\\n  seed: [ | cannot be read as YAML (line 2)",
            })
    void theLineOfAnErrorIsNamed(String yaml, String words) throws IOException {
        Path file = Files.writeString(temp.resolve("my.yaml"), yaml.replace("\\n", "\n"));

        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Settings().overlay(file.toString()))
                .withMessage(file + " " + words + "; mend it and run again.");
    }

    @Test
    void aFileThatIsNoTextIsNamed() throws IOException {
        Path file = Files.write(temp.resolve("my.yaml"), new byte[] {'a', ':', ' ', (byte) 0xff});

        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Settings().overlay(file.toString()))
                .withMessage(file + " is not UTF-8 text; convert it to UTF-8.");
    }

    @Test
    void aNumberInACommentIsNone() throws IOException {
        Path file = Files.writeString(temp.resolve("my.yaml"), "train:\n  seed: 7 # as agent 007\n");

        assertThat(new Settings().overlay(file.toString()).train().seed()).isEqualTo(7);
    }

    @Test
    void zerosWithinANumberAreNoOctalOnes() {
        assertThat(new Settings().assign("train.base_lr=0.004", "--set").train().baseLr())
                .isEqualTo(0.004);
        assertThat(new Settings().assign("train.seed=0", "--set").train().seed())
                .isZero();
        assertThat(new Settings().assign("train.seed=1007", "--set").train().seed())
                .isEqualTo(1007);
    }
}
