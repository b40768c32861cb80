package io.github.drakegpt.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.data.FolderLockedException;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RunFolderTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final CharTokenizer TOKENIZER = CharTokenizer.of("abcde");
    private static final ModelConfig MODEL =
            new ModelConfig(Models.TRANSFORMER, 5, 3, 4, 4, 2, 1, 0, false, Init.PYTORCH, Quantization.NONE, false);
    private static final Parameters PARAMETERS = parameters();

    @TempDir
    Path temp;

    private Path path;

    @BeforeEach
    void nameAFolder() {
        path = temp.resolve("runs/one");
    }

    // ---------------------------------------------------------------------------------------------- create and open

    @Test
    void opensWhatWasCreated() throws IOException {
        ObjectNode config = config();
        config.putObject("train").put("iters", 7);
        RunFolder created = RunFolder.create(path, config, TOKENIZER);
        RunFolder opened = RunFolder.open(path);

        assertThat(names()).containsExactly("config.json", "vocab.json");
        assertThat(opened.path()).isEqualTo(path);
        assertThat(opened.config()).hasToString(config.toString());
        assertThat(created.config()).isEqualTo(config);
        assertThat(opened.modelConfig()).isEqualTo(MODEL).isEqualTo(created.modelConfig());
        assertThat(opened.tokenizer()).isEqualTo(TOKENIZER);
        assertThat(opened.hasCheckpoint()).isFalse();
    }

    @Test
    void aNewRunDoesNotReplaceAnother() throws IOException {
        RunFolder.create(path, config(), TOKENIZER);
        String before = Files.readString(path.resolve("config.json"));

        assertThatIllegalArgumentException()
                .isThrownBy(() -> RunFolder.create(path, config().put("other", 1), TOKENIZER))
                .withMessage(path + " already holds a run; choose another folder.");
        assertThat(Files.readString(path.resolve("config.json"))).isEqualTo(before);
    }

    @Test
    void aRunWithoutAModelOrWithAnotherVocabularyIsRefused() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> RunFolder.create(path, JsonNodeFactory.instance.objectNode(), TOKENIZER))
                .withMessage("The configuration has no model settings; give them under the key model.");
        ObjectNode other = config();
        other.withObject("/model").put("vocab_size", TOKENIZER.size() + 1);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> RunFolder.create(path, other, TOKENIZER))
                .withMessage("model.vocab_size is " + (TOKENIZER.size() + 1) + " and the vocabulary has "
                        + TOKENIZER.size() + " characters; set it to that.");
        assertThat(path.resolve(RunFolder.CONFIG)).doesNotExist();
    }

    @Test
    void aFileIsNoFolder() throws IOException {
        Path file = Files.writeString(temp.resolve("file"), "text");

        assertThatThrownBy(() -> RunFolder.create(file, config(), TOKENIZER)).isInstanceOf(NotDirectoryException.class);
        assertThatThrownBy(() -> RunFolder.open(file))
                .isInstanceOf(IOException.class)
                .hasMessage(file + " is not a folder; give the folder of a run.");
        assertThatThrownBy(() -> RunFolder.open(path))
                .isInstanceOf(IOException.class)
                .hasMessage(path + " is not a folder; give the folder of a run.");
    }

    @Test
    void aFolderWithoutConfigurationIsNoRun() throws IOException {
        Files.createDirectories(path);

        assertThatThrownBy(() -> RunFolder.open(path))
                .isInstanceOf(IOException.class)
                .hasMessage(path + " is not the folder of a run (it has no config.json); give the folder that "
                        + "`drakegpt train` wrote.");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "  ",
                "{",
                "not json",
                "[]",
                "null",
                "{}",
                "{\"model\":null}",
                "{\"model\":3}",
                "{\"model\":[]}",
                "{\"model\":{}}",
                "{\"model\":{\"name\":\"GPT\"}}",
                "{\"model\":{\"surprise\":1}}",
                "\0\0\0\0\0\0\0\0"
            })
    void aDamagedConfigurationIsNamed(String text) throws IOException {
        RunFolder.create(path, config(), TOKENIZER);
        Files.writeString(path.resolve("config.json"), text);

        assertDamaged("config.json", () -> RunFolder.open(path));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"model\": | it is not valid JSON (line 1, column ",
                "{\"model\":{\"name\":[1]}} | the value of name is not one that it can have;",
                "{\"model\":{\"num_layers\":99999999999999999999}} | the value of num_layers is not one that it can have;",
                "{\"model\":{\"init\":\"zeros\"}} | the value of init is not one that it can have;",
            })
    void aDamagedConfigurationIsExplained(String text, String reason) throws IOException {
        RunFolder.create(path, config(), TOKENIZER);
        Files.writeString(path.resolve("config.json"), text);

        assertThatThrownBy(() -> RunFolder.open(path))
                .hasMessageStartingWith(path.resolve("config.json") + " is damaged: " + reason)
                .hasMessageNotContainingAny("fasterxml", "Exception", "java.");
    }

    @Test
    void aVocabularyThatIsMissingOrDamagedIsNamed() throws IOException {
        RunFolder.create(path, config(), TOKENIZER);
        Path vocab = path.resolve("vocab.json");

        Files.writeString(vocab, "[\"a\",");
        assertThatThrownBy(() -> RunFolder.open(path))
                .isInstanceOf(IOException.class)
                .hasMessageStartingWith(vocab + " is not JSON; ");
        Files.delete(vocab);
        assertThatThrownBy(() -> RunFolder.open(path))
                .isInstanceOf(NoSuchFileException.class)
                .hasMessage(vocab.toString());
    }

    @Test
    void aVocabularyOfAnotherSizeIsRefused() throws IOException {
        RunFolder.create(path, config(), TOKENIZER);
        CharTokenizer.of("abcdef").write(path.resolve("vocab.json"));

        assertThatThrownBy(() -> RunFolder.open(path))
                .isInstanceOf(CorruptFileException.class)
                .hasMessage(path.resolve("vocab.json") + " is damaged: it has 6 characters where the model has 5; "
                        + "take the file from a backup, or make it again.");
    }

    // ---------------------------------------------------------------------------------------------- save and load

    @Test
    void loadsWhatWasSaved() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        Checkpoint saved = checkpoint(1, state(20, 10));
        run.save(saved, PARAMETERS);

        RunFolder opened = RunFolder.open(path);
        assertThat(opened.hasCheckpoint()).isTrue();
        assertSame(opened.load(PARAMETERS), saved);
        assertThat(opened.loadTrainedWeights()).containsExactly(saved.weights());
        assertThat(opened.state()).isEqualTo(saved.state());
    }

    @Test
    void theStateBeforeTheFirstEvaluationHasNoNumbersAndIsStillRead() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, TrainingState.START), PARAMETERS);

        assertThat(run.state()).isEqualTo(TrainingState.START);
        assertThat(names()).doesNotContain("best.safetensors");
    }

    @Test
    void theBestWeightsAreWrittenOnlyWithANewBest() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        Checkpoint first = checkpoint(1, state(10, 10));
        run.save(first, PARAMETERS);
        assertThat(best()).containsExactly(first.weights());

        run.save(checkpoint(2, state(20, 10)), PARAMETERS);
        assertThat(best()).containsExactly(first.weights());

        Checkpoint third = checkpoint(3, state(30, 30));
        run.save(third, PARAMETERS);
        assertThat(best()).containsExactly(third.weights());
        assertThat(names())
                .containsExactly(
                        "best.safetensors",
                        "config.json",
                        "model.safetensors",
                        "optimizer.safetensors",
                        "state.json",
                        "vocab.json");
    }

    @Test
    void theModelFileIsDrakeGptsStateDict() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, state(10, 10)), PARAMETERS);
        Safetensors file = Safetensors.read(path.resolve("model.safetensors"));

        String block = "blocks.0.";
        assertThat(file.names())
                .containsExactlyInAnyOrder(
                        "token_embedding_table.weight",
                        "position_embedding_table.weight",
                        block + "sa_head.heads.0.key.weight",
                        block + "sa_head.heads.0.query.weight",
                        block + "sa_head.heads.0.value.weight",
                        block + "sa_head.heads.0.tril",
                        block + "sa_head.heads.1.key.weight",
                        block + "sa_head.heads.1.query.weight",
                        block + "sa_head.heads.1.value.weight",
                        block + "sa_head.heads.1.tril",
                        block + "sa_head.proj.weight",
                        block + "sa_head.proj.bias",
                        block + "ffwd.net.0.weight",
                        block + "ffwd.net.0.bias",
                        block + "ffwd.net.2.weight",
                        block + "ffwd.net.2.bias",
                        block + "ln1.weight",
                        block + "ln1.bias",
                        block + "ln2.weight",
                        block + "ln2.bias",
                        "ln_f.weight",
                        "ln_f.bias",
                        "lm_head.weight",
                        "lm_head.bias");
        assertThat(file.metadata()).containsOnlyKeys("format").containsEntry("format", "pt");
        assertThat(floats(file, block + "sa_head.heads.1.tril", 3, 3)).containsExactly(1, 0, 0, 1, 1, 0, 1, 1, 1);
        // never applied, never trained
        assertThat(floats(file, "ln_f.weight", 4)).containsOnly(1);
        assertThat(floats(file, "ln_f.bias", 4)).containsOnly(0);
        assertThat(file.shape(block + "sa_head.heads.0.key.weight")).isEqualTo(Shape.of(2, 4));
        assertThat(file.shape(block + "ffwd.net.0.weight")).isEqualTo(Shape.of(16, 4));
        assertThat(file.shape("lm_head.weight")).isEqualTo(Shape.of(5, 4));
    }

    @ParameterizedTest
    @CsvSource({"model.safetensors", "optimizer.safetensors", "state.json"})
    void aFileOfTheCheckpointThatIsMissingIsNamed(String name) throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, state(10, 10)), PARAMETERS);
        Files.delete(path.resolve(name));

        assertThatThrownBy(() -> run.load(PARAMETERS))
                .isInstanceOf(IOException.class)
                .hasMessage(path + " has no " + name + ": the run did not come to its first checkpoint, or the file "
                        + "was removed; train it again.");
    }

    @ParameterizedTest
    @CsvSource({"model.safetensors", "optimizer.safetensors", "state.json"})
    void aFileOfTheCheckpointThatIsTruncatedIsNamed(String name) throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, state(10, 10)), PARAMETERS);
        byte[] bytes = Files.readAllBytes(path.resolve(name));
        for (int length : new int[] {bytes.length - 2, bytes.length / 2, 0}) {
            Files.write(path.resolve(name), Arrays.copyOf(bytes, length));
            assertDamaged(name, () -> run.load(PARAMETERS));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"null", "[]", "{}", "{\"step\":\"x\"}", "{\"step\":10}", "\0\0\0\0"})
    void aStateThatIsNoneIsNamed(String text) throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, state(10, 10)), PARAMETERS);
        Files.writeString(path.resolve("state.json"), text);

        assertDamaged("state.json", run::state);
    }

    /** JSON has no NaN and no infinity. */
    @Test
    void lossesAreNullBeforeTheFirstEvaluation() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        TrainingState before = TrainingState.START.advanced(5, 1, 2);
        run.save(checkpoint(1, before), PARAMETERS);

        JsonNode json = JSON.readTree(path.resolve("state.json").toFile());
        for (String loss : List.of("train_loss", "val_loss", "best_val_loss")) {
            assertThat(json.get(loss).isNull()).as(loss).isTrue();
        }
        assertThat(run.state()).isEqualTo(before);
        run.verify();
    }

    @ParameterizedTest
    @CsvSource({
        "step, -1",
        "step, 9",
        "train_loss, -0.5",
        "val_loss, -1",
        "best_val_loss, '\"NaN\"'",
        "best_step, 11",
        "best_step, -1",
        "evaluations_since_best, -1",
        "train_seconds, -2",
        "elapsed_seconds, '\"Infinity\"'"
    })
    void aStateThatNoTrainingHasIsNamed(String key, String value) throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, state(10, 10)), PARAMETERS);
        ObjectNode json = (ObjectNode) JSON.readTree(path.resolve("state.json").toFile());
        json.set(key, JSON.readTree(value));
        JSON.writeValue(path.resolve("state.json").toFile(), json);

        assertDamaged("state.json", run::state);
    }

    /** Whatever bit flips in whichever file of a checkpoint, it is noticed, unless the file says the same still. */
    @ParameterizedTest
    @CsvSource({"model.safetensors", "best.safetensors", "optimizer.safetensors", "state.json"})
    void aBitThatFlipsIsNoticed(String name) throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        Checkpoint saved = checkpoint(1, state(10, 10));
        run.save(saved, PARAMETERS);
        run.save(
                new Checkpoint(saved.weights(), saved.firstMoments(), saved.secondMoments(), state(20, 10)),
                PARAMETERS); // keeps the best weights
        run.verify();
        byte[] bytes = Files.readAllBytes(path.resolve(name));
        Random random = new Random(7);
        int values =
                name.equals("state.json") ? new String(bytes, StandardCharsets.UTF_8).indexOf("sha256") : bytes.length;
        for (int i = 0; i < 300; i++) {
            byte[] damaged = bytes.clone();
            damaged[random.nextInt(values)] ^= (byte) (1 << random.nextInt(8));
            Files.write(path.resolve(name), damaged);
            try {
                run.verify();
                assertThat(name).isEqualTo("state.json");
                assertThat(run.state()).isEqualTo(state(20, 10)); // the flip made another blank
            } catch (IOException e) {
                assertThat(e)
                        .hasMessageStartingWith(
                                path.resolve(name)
                                        + (e instanceof CorruptFileException
                                                ? " is damaged: "
                                                : " has changed since it was saved: its SHA-256 sum is not the one in state.json; "));
            }
        }
    }

    @Test
    void aStateWithoutSumsIsTakenAsItIs() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, state(10, 10)), PARAMETERS);
        ObjectNode json = (ObjectNode) JSON.readTree(path.resolve("state.json").toFile());
        assertThat(json.remove("sha256")).hasSize(4);
        JSON.writeValue(path.resolve("state.json").toFile(), json);

        run.verify();
        assertThat(run.state()).isEqualTo(state(10, 10));
    }

    @Test
    void anotherModelsWeightsAreRefused() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.save(checkpoint(1, state(10, 10)), PARAMETERS);
        Files.copy(Path.of("src/test/resources/fixtures/BigramLM.safetensors"), temp.resolve("other"));
        Files.delete(path.resolve("model.safetensors"));
        Files.move(temp.resolve("other"), path.resolve("model.safetensors"));

        assertDamaged("model.safetensors", () -> run.load(PARAMETERS));
    }

    // ---------------------------------------------------------------------------------------------- crashes

    /** Kills the process between any two changes that save makes to the file system. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void whenSaveIsKilledTheOldOrTheNewCheckpointIsThereAsAWhole(boolean newBest) throws IOException {
        Checkpoint old = checkpoint(1, state(10, 10));
        Checkpoint next = checkpoint(2, state(20, newBest ? 20 : 10));
        RunFolder.create(path, config(), TOKENIZER).save(old, PARAMETERS);
        List<String> whole = names();
        boolean wasNew = false;
        int changes = 0;
        Path original = path;
        for (boolean killed = true; killed; changes++) {
            path = original;
            copyTo("run" + changes);
            killed = killed(path, changes, run -> run.save(next, PARAMETERS));

            RunFolder run = RunFolder.open(path);
            run.recover();
            run.verify();
            Checkpoint found = run.load(PARAMETERS);
            boolean isNew = found.state().step() == 20;
            assertSame(found, isNew ? next : old);
            assertThat(best()).containsExactly(isNew && newBest ? next.weights() : old.weights());
            assertThat(names()).as("after %s changes", changes).isEqualTo(whole);
            assertThat(isNew || !wasNew)
                    .as("after %s changes it is old again", changes)
                    .isTrue();
            assertThat(killed || isNew).as("saved").isTrue();
            wasNew = isNew;
        }
        // three or four files: begun, called .next, renamed; commit.json: begun, renamed, removed
        assertThat(changes).isGreaterThan(10);
    }

    @Test
    void whenTheFirstSaveIsKilledThereIsNoCheckpointOrAWholeOne() throws IOException {
        Checkpoint first = checkpoint(1, state(10, 10));
        RunFolder.create(path, config(), TOKENIZER);
        boolean seenNone = false;
        int changes = 0;
        Path original = path;
        for (boolean killed = true; killed; changes++) {
            path = original;
            copyTo("run" + changes);
            killed = killed(path, changes, run -> run.save(first, PARAMETERS));

            RunFolder run = RunFolder.open(path);
            run.recover();
            if (run.hasCheckpoint()) {
                assertSame(run.load(PARAMETERS), first);
            } else {
                seenNone = true;
                assertThat(names()).containsExactly("config.json", "vocab.json");
            }
        }
        assertThat(seenNone).isTrue();
        assertThat(RunFolder.open(path).hasCheckpoint()).isTrue();
    }

    @Test
    void whenRecoverIsKilledTooTheNextOneFinishesIt() throws IOException {
        Checkpoint old = checkpoint(1, state(10, 10));
        Checkpoint next = checkpoint(2, state(20, 20));
        RunFolder.create(path, config(), TOKENIZER).save(old, PARAMETERS);
        Path original = path;
        int moments = 0;
        for (int changes = 6; changes < 16; changes++) {
            path = original;
            copyTo("run" + changes);
            killed(path, changes, run -> run.save(next, PARAMETERS));
            boolean killed = true;
            for (int more = 0; killed; more++) {
                Path before = path;
                copyTo("run" + changes + "-" + more);
                killed = killed(path, more, RunFolder::recover);

                RunFolder run = RunFolder.open(path);
                run.recover();
                run.verify();
                Checkpoint found = run.load(PARAMETERS);
                assertSame(found, found.state().step() == 20 ? next : old);
                assertThat(names()).hasSize(6);
                path = before;
                moments++;
            }
        }
        assertThat(moments).isGreaterThan(30);
    }

    @Test
    void aSaveThatFollowsAKilledOneIsWhole() throws IOException {
        Checkpoint last = checkpoint(3, state(30, 10));
        RunFolder.create(path, config(), TOKENIZER).save(checkpoint(1, state(10, 10)), PARAMETERS);
        Path original = path;
        for (int changes = 1; changes < 16; changes += 2) {
            path = original;
            copyTo("run" + changes);
            RunFolder run = RunFolder.open(path);
            killed(path, changes, dying -> dying.save(checkpoint(2, state(20, 20)), PARAMETERS));
            run.recover();
            float[] best = best();

            run.save(last, PARAMETERS);

            run.verify();
            assertSame(run.load(PARAMETERS), last);
            assertThat(best()).containsExactly(best);
            assertThat(names()).hasSize(6);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "null", "{}", "[1", "[null]", "[\"../other\"]", "[\"config.json\"]", "[[]]"})
    void aListOfRenamesThatIsNoneIsNamed(String text) throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        Files.writeString(path.resolve("commit.json"), text);

        assertDamaged("commit.json", run::recover);
    }

    @Test
    void recoverLeavesAWholeRunAsItIs() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        run.recover();
        Checkpoint saved = checkpoint(1, state(10, 10));
        run.save(saved, PARAMETERS);
        Files.writeString(path.resolve("notes.next"), "mine");

        run.recover();

        assertSame(run.load(PARAMETERS), saved);
        assertThat(Files.readString(path.resolve("notes.next"))).isEqualTo("mine");
    }

    private interface Work {
        void on(RunFolder run) throws IOException;
    }

    /** Works on a run in a process that dies after some changes to the file system; whether it died. */
    private static boolean killed(Path path, int changes, Work work) throws IOException {
        RunFolder run = RunFolder.open(MortalFileSystem.path(path, changes));
        try {
            work.on(run);
            return false;
        } catch (MortalFileSystem.Killed e) {
            return true;
        }
    }

    // ---------------------------------------------------------------------------------------------- locks

    @Test
    void aRunIsTrainedByOneAtATime() throws IOException {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        RunFolder same = RunFolder.open(path);
        try (Folder lock = run.lock()) {
            assertThat(lock.isLocked()).isTrue();
            assertBeingUsed(same);
            assertThat(RunFolder.open(path).modelConfig()).isEqualTo(MODEL);
        }
        same.lock().close();
        run.lock().close();
    }

    @Test
    void anotherProcessIsKeptOutUntilTheLockIsClosed() throws Exception {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        try (Folder lock = run.lock()) {
            assertThat(lock.isLocked()).isTrue();
            assertThat(inAnotherProcess(false)).startsWith(beingUsed());
        }
        assertThat(inAnotherProcess(false)).isEqualTo("locked");
    }

    @Test
    void aProcessThatEndsWithoutClosingGivesTheRunFree() throws Exception {
        RunFolder run = RunFolder.create(path, config(), TOKENIZER);
        assertThat(inAnotherProcess(true)).isEqualTo("locked");

        run.lock().close();
    }

    private void assertBeingUsed(RunFolder run) {
        assertThatThrownBy(run::lock).isInstanceOf(FolderLockedException.class).hasMessageStartingWith(beingUsed());
    }

    private String beingUsed() {
        return path + " is being used by process ";
    }

    /** What {@link Locker} says; while it holds its lock, this process is refused. */
    private String inAnotherProcess(boolean whileLocked) throws Exception {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Locker.class.getName(),
                        path.toString())
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            String said = out.readLine();
            if (whileLocked) {
                assertBeingUsed(RunFolder.open(path));
            }
            process.getOutputStream().close();
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
            return said;
        } finally {
            process.destroyForcibly();
        }
    }

    /** Another process that locks a run, and ends when its input does. */
    static final class Locker {
        public static void main(String[] arguments) throws IOException {
            RunFolder run = RunFolder.open(Path.of(arguments[0]));
            try {
                run.lock();
                System.out.println("locked");
            } catch (IOException e) {
                System.out.println(e.getMessage());
            }
            while (System.in.read() >= 0) {}
        }
    }

    // ---------------------------------------------------------------------------------------------- helpers

    /** Goes on with a copy of the folder. */
    private void copyTo(String name) throws IOException {
        Path copy = Files.createDirectory(temp.resolve(name));
        for (String file : names()) {
            Files.copy(path.resolve(file), copy.resolve(file));
        }
        path = copy;
    }

    private static ObjectNode config() {
        ObjectNode config = JSON.createObjectNode();
        config.set("model", JSON.valueToTree(MODEL));
        return config;
    }

    private static Parameters parameters() {
        return LanguageModel.parametersOf(MODEL);
    }

    private static TrainingState state(int step, int bestStep) {
        return new TrainingState(step, 2.5 - step * 0.01, 2.6, 2.1 + 1.0 / bestStep, bestStep, 3, 1.25, 2.5, null);
    }

    private static Checkpoint checkpoint(int seed, TrainingState state) {
        Random random = new Random(seed);
        return new Checkpoint(values(random), values(random), values(random), state);
    }

    /** Random parameters; what lies between them is zero and not saved. */
    private static float[] values(Random random) {
        float[] values = new float[(int) PARAMETERS.size()];
        for (Parameters.Entry entry : PARAMETERS.entries()) {
            for (int i = 0; i < entry.shape().size(); i++) {
                values[(int) entry.offset() + i] = random.nextFloat() - 0.5f;
            }
        }
        return values;
    }

    private static float[] floats(Safetensors file, String name, int... dims) throws IOException {
        float[] values = new float[(int) Shape.of(dims).size()];
        file.read(name, Shape.of(dims), values, 0);
        return values;
    }

    private float[] best() throws IOException {
        return StateDict.read(Safetensors.read(path.resolve("best.safetensors")), PARAMETERS, "");
    }

    private List<String> names() throws IOException {
        try (Stream<Path> files = Files.list(path)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    private static void assertSame(Checkpoint actual, Checkpoint expected) {
        assertThat(actual.state()).isEqualTo(expected.state());
        assertThat(actual.weights()).containsExactly(expected.weights());
        assertThat(actual.firstMoments()).containsExactly(expected.firstMoments());
        assertThat(actual.secondMoments()).containsExactly(expected.secondMoments());
    }

    private void assertDamaged(String name, ThrowingCallable call) {
        assertThatThrownBy(call)
                .isInstanceOf(CorruptFileException.class)
                .hasMessageStartingWith(path.resolve(name) + " is damaged: ")
                .hasMessageEndingWith("; take the file from a backup, or make it again.")
                .hasMessageNotContaining("\n");
    }
}
