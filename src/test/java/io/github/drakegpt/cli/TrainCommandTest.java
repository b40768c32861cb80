package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.args;
import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static io.github.drakegpt.cli.TinyRuns.assertSameWeights;
import static io.github.drakegpt.cli.TinyRuns.bigram;
import static io.github.drakegpt.cli.TinyRuns.contents;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.Safetensors;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.report.QuantizationCost;
import io.github.drakegpt.report.RunReport;
import io.github.drakegpt.report.SeedGroup;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

class TrainCommandTest {
    static final List<String> MODELS = Models.NAMES;
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    Path temp;

    Path corpus;
    Path run;

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        run = temp.resolve("run");
    }

    @ParameterizedTest
    @FieldSource("MODELS")
    void trainsEveryModelIntoARunFolderAndPrintsASample(String model) throws IOException {
        Cli.Result result = Cli.run(args(corpus, run, "--model", model));

        assertThat(result.code()).as(result.err()).isZero();
        List<Path> events = RunFolder.open(run).eventFiles();
        assertThat(events).hasSize(1);
        assertThat(run.toFile().list())
                .containsExactlyInAnyOrder(
                        "config.json",
                        "vocab.json",
                        "model.safetensors",
                        "best.safetensors",
                        "optimizer.safetensors",
                        "state.json",
                        "metrics.jsonl",
                        "machine.json",
                        events.get(0).getFileName().toString(),
                        "train.log",
                        "README.md");
        assertThat(result.out().codePointCount(0, result.out().length())).isEqualTo(300 + 1);
        String characters = RunFolder.open(run).tokenizer().characters();
        assertThat(result.out().chars()).allMatch(c -> characters.indexOf(c) >= 0);
        assertThat(result.err()).contains("Run folder " + run, "step 10/20", "done at step 20");
        assertThat(run.resolve("train.log")).content().contains("step 10/20", "done at step 20");
        assertThat(steps(run)).containsExactly(10, 20);
        JsonNode config = JSON.readTree(run.resolve("config.json").toFile());
        assertThat(config.at("/model/name").asText()).isEqualTo(model);
        assertThat(config.at("/train/iters").asInt()).isEqualTo(20);
        assertThat(config.at("/data/source").asText()).isEqualTo(corpus.toString());
        assertThat(JSON.readTree(run.resolve("state.json").toFile()).at("/step").asInt())
                .isEqualTo(20);
    }

    /** So that it can be resumed from any folder. */
    @Test
    void aRunKeepsTheWholePathOfItsCorpus() throws IOException {
        Path relative = Path.of("").toAbsolutePath().relativize(corpus);
        bigram(relative, run);
        assertThat(RunFolder.open(run).config().at("/data/source").asText()).isEqualTo(corpus.toString());
    }

    @Test
    void aScheduleThatMoreStepsStretchIsToldWhenResumed() throws IOException {
        bigram(corpus, run, "--set", "train.schedule=cosine");
        Cli.Result stretched = Cli.run("train", "--resume", run.toString(), "--iters", "40");
        assertThat(stretched.err())
                .contains("The learning rate of step 21 is 0.00284, where it would be 0.00100 without --iters: the"
                        + " cosine schedule now ends at step 40 instead of 20.");

        Path cyclic = bigram(corpus, temp.resolve("cyclic"));
        assertThat(Cli.run("train", "--resume", cyclic.toString(), "--iters", "40")
                        .err())
                .doesNotContain("The learning rate of step");
    }

    @ParameterizedTest
    @ValueSource(strings = {"bitnet", "b1.58"})
    void trainsQuantizedResumesGeneratesAndScores(String quant) throws IOException {
        // the rates of the bitnet schedule depend on the number of steps, which is raised on the way
        String[] cyclic = {"--quant", quant, "--set", "train.schedule=cyclic"};
        Path whole = TinyRuns.train(corpus, temp.resolve("whole"), with(with(cyclic, "--set"), "train.iters=30"));
        assertThat(JSON.readTree(whole.resolve("config.json").toFile())
                        .at("/model/quant")
                        .asText())
                .isEqualTo(quant);
        Path plain = TinyRuns.train(corpus, temp.resolve("plain"));
        TinyRuns.train(corpus, run, cyclic);
        assertThat(Cli.run("train", "--resume", run.toString(), "--iters", "30").code())
                .isZero();
        assertSameWeights(run, whole);
        String[] score = {"score", "--string", "It rained.", "--run"};
        assertThat(Cli.run(with(score, run.toString())).out())
                .isEqualTo(Cli.run(with(score, whole.toString())).out())
                .isNotEqualTo(Cli.run(with(score, plain.toString())).out());
    }

    /** A full-precision run's weights, with the norms that it lacks; the rounding grows over half of the steps. */
    @Test
    void trainsAQuantizedRunFromOneInFullPrecision() throws IOException {
        Path plain = TinyRuns.train(corpus, temp.resolve("plain"));
        TinyRuns.train(corpus, run, "--quant", "b1.58", "--init-from", plain.toString());
        JsonNode config = JSON.readTree(run.resolve("config.json").toFile());
        assertThat(config.at("/train/quant_warmup_iters").asInt()).isEqualTo(10);
        assertThat(config.at("/model/sub_norm").asBoolean()).isTrue();

        Path unchanged = temp.resolve("unchanged");
        TinyRuns.train(
                corpus,
                unchanged,
                "--quant",
                "b1.58",
                "--init-from",
                plain.toString(),
                "--set",
                "train.max_lr=0",
                "--set",
                "train.base_lr=0");
        Safetensors from = Safetensors.read(plain.resolve(RunFolder.MODEL));
        Safetensors to = Safetensors.read(unchanged.resolve(RunFolder.MODEL));
        for (String name : to.names()) {
            float[] actual = floats(to, name);
            if (from.names().contains(name)) {
                assertThat(actual).as(name).isEqualTo(floats(from, name));
            } else {
                assertThat(name).contains("sub_norm");
                assertThat(actual).containsOnly(1);
            }
        }
        Path file = Files.writeString(temp.resolve("mine.yaml"), "train: {quant_warmup_iters: 3}\n");
        Path mine = temp.resolve("mine");
        TinyRuns.train(corpus, mine, "--quant", "b1.58", "--init-from", plain.toString(), "--config", file.toString());
        assertThat(JSON.readTree(mine.resolve("config.json").toFile())
                        .at("/train/quant_warmup_iters")
                        .asInt())
                .as("what the user says")
                .isEqualTo(3);
        assertFails(
                Cli.run(args(corpus, temp.resolve("back"), "--init-from", run.toString())),
                2,
                run + " holds a TransformerLM with other weights than this TransformerLM has");
    }

    private static float[] floats(Safetensors file, String name) throws IOException {
        float[] values = new float[(int) file.shape(name).size()];
        file.read(name, file.shape(name), values, 0);
        return values;
    }

    @Test
    void quantNoneTrainsWhatQuantizedRunsAreComparedWith() throws IOException {
        TinyRuns.train(corpus, run, "--quant", "none");
        TinyRuns.train(corpus, temp.resolve("ternary"), "--quant", "b1.58");
        List<SeedGroup> groups = SeedGroup.of(RunReport.read(List.of(run, temp.resolve("ternary"))));
        assertThat(QuantizationCost.of(groups).get(0).differing())
                .as("besides the weights")
                .isEmpty();
    }

    /** The built-in settings first, then what --quant brings, then what the user says. */
    @Test
    void quantBringsSettingsThatTheUserCanChange() throws IOException {
        TinyRuns.train(corpus, run, "--quant", "b1.58", "--set", "train.max_lr=0.007");
        JsonNode train = JSON.readTree(run.resolve("config.json").toFile()).get("train");
        assertThat(train.get("schedule").asText()).isEqualTo("bitnet");
        assertThat(train.get("max_lr").asDouble()).isEqualTo(0.007);
        Path file = Files.writeString(temp.resolve("mine.yaml"), "train: {max_lr: 0.006, weight_decay: 0.02}\n");
        Path other = temp.resolve("other");
        TinyRuns.train(corpus, other, "--quant", "bitnet", "--config", file.toString());
        JsonNode changed = JSON.readTree(other.resolve("config.json").toFile()).get("train");
        assertThat(changed.get("max_lr").asDouble()).isEqualTo(0.006);
        assertThat(changed.get("weight_decay").floatValue()).isEqualTo(0.02f);
        assertThat(changed.get("schedule").asText()).isEqualTo("bitnet");
        assertFails(
                Cli.run(args(corpus, temp.resolve("late"), "--quant", "b1.58", "--set", "train.quant_warmup_iters=21")),
                2,
                "train.quant_warmup_iters (21) is more than train.iters (20)");
    }

    private static String[] with(String[] args, String last) {
        String[] all = Arrays.copyOf(args, args.length + 1);
        all[args.length] = last;
        return all;
    }

    @Test
    void onlyTheTransformerCanBeQuantizedAndOnlyInTwoWays() {
        assertFails(
                Cli.run(args(corpus, run, "--quant", "ternary")),
                2,
                "There is no quantization 'ternary'; choose one of none, bitnet, b1.58.");
        assertFails(
                Cli.run(args(corpus, run, "--quant", "b1.58", "--model", "BigramLM")),
                2,
                "model.quant is b1.58, and only TransformerLM can be quantized; set it to none, or train that model.");
        assertThat(run).doesNotExist();
    }

    @Test
    void theLargeConfigurationTrains() {
        Cli.Result result = Cli.run(
                "train",
                "--scale",
                "--iters",
                "2",
                "--run",
                run.toString(),
                "--set",
                "train.batch_size=1",
                "--set",
                "train.eval_iters=1");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).contains("TransformerLM: 10,", "done at step 2");
        assertThat(result.out().strip()).isNotEmpty();
    }

    @Test
    void usesTheBundledSampleAndANewFolderUnderRunsByDefault() throws IOException, InterruptedException {
        List<String> args = new ArrayList<>(List.of("train", "--model", "BigramLM"));
        args.addAll(TinyRuns.tiny());

        Cli.Result result = Cli.runIn(temp.toRealPath(), args.toArray(String[]::new));

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err())
                .contains("Corpus the bundled sample ", " characters to train on, ", "Run folder runs/BigramLM-");
        assertThat(temp.resolve("runs").toFile().list()).hasSize(1);
    }

    @ParameterizedTest
    @ValueSource(strings = {"BigramLM", "TransformerLM"})
    void aResumedRunIsTheSameAsAnUninterruptedOne(String model) throws IOException {
        TinyRuns.train(corpus, run, "--model", model);
        Cli.Result resumed = Cli.run("train", "--resume", run.toString(), "--iters", "40");
        Path whole = TinyRuns.train(corpus, temp.resolve("whole"), "--model", model, "--set", "train.iters=40");

        assertThat(resumed.code()).as(resumed.err()).isZero();
        assertThat(resumed.err()).contains("resuming at step 21");
        assertSameWeights(run, whole);
        assertThat(steps(run)).containsExactly(10, 20, 30, 40);
    }

    @Test
    void resumingAFinishedRunChangesNothing() throws IOException {
        bigram(corpus, run);
        Map<String, String> before = contents(run);

        Cli.Result result = Cli.run("train", "--resume", run.toString());

        assertThat(result.code()).isZero();
        assertThat(result.err()).contains("already trained");
        assertThat(contents(run)).isEqualTo(before);
    }

    @Test
    void stopsEarlyWhenPatienceEnds() {
        Cli.Result result = Cli.run(args(
                corpus,
                run,
                "--model",
                "BigramLM",
                "--set",
                "train.patience=1",
                "--set",
                "train.max_lr=0",
                "--set",
                "train.base_lr=0",
                "--set",
                "train.iters=1000"));

        assertThat(result.code()).isZero();
        assertThat(result.err()).contains("stopped early: no lower val loss since step ");
    }

    @Test
    void beginsWithTheWeightsOfAnotherRunAlsoAfterACrash() throws IOException {
        Path first = bigram(corpus, temp.resolve("first"));

        // diverges before its first evaluation, as a kill would end it there
        Cli.Result result = Cli.run(args(
                corpus,
                run,
                "--model",
                "BigramLM",
                "--init-from",
                first.toString(),
                "--set",
                "train.max_lr=1e30",
                "--set",
                "train.base_lr=1e30"));

        assertFails(result, 1, "holds step 0");
        assertThat(run.resolve(RunFolder.MODEL)).hasSameBinaryContentAs(first.resolve(RunFolder.MODEL));
    }

    @Test
    void doesNotBeginWithWeightsThatDoNotFit() throws IOException {
        Path first = bigram(corpus, temp.resolve("first"));
        Path other = TinyRuns.corpus(temp.resolve("other"), "abc xyz ".repeat(150));

        String[] vocabulary = args(other, run, "--model", "BigramLM", "--init-from", first.toString());
        assertFails(Cli.run(vocabulary), 2, first + " was trained with another vocabulary");
        String[] model = args(corpus, run, "--init-from", first.toString());
        assertFails(Cli.run(model), 2, first + " holds a BigramLM with other weights than this TransformerLM");
        String[] missing = args(corpus, run, "--model", "BigramLM", "--init-from", corpus.toString());
        assertFails(Cli.run(missing), 1, corpus + " is not the folder of a run");
        assertThat(run).doesNotExist();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "train.batch_size=0 | train.batch_size is 0",
                "train.iters=0 | train.iters is 0",
                "train.eval_iters=0 | train.eval_iters is 0",
                "train.max_lr=-1 | train.max_lr is -1.0",
                "train.max_lr=.nan | --set train.max_lr=.nan",
                "train.max_lr=1e400 | train.max_lr is Infinity",
                "train.betas=[0.9] | train.betas is [0.9]",
                "train.betas=[0.9, 1] | train.betas is [0.9, 1.0]",
                "train.schedule=linear | one of cyclic, cosine",
                "train.iters=many | a whole number",
                "train.iters=1.5 | a whole number",
                "train.iters=3000000000 | train.iters is 3000000000; set it to a whole number of at most 2147483647.",
                "train.seed=0042 | --set train.seed=0042 has the number 0042, which YAML reads as an octal one (line 1)",
                "train.betas=[0.9, 007] | has the number 007",
                "train.eps=0 | train.eps is 0.0; set it to a number above 0",
                "train.eps=1e-320 | train.eps is 0.0; set it to a number above 0",
                "train.batch_size=2000000000 | tokens in a step are more than 2147483647 tokens; lower train.batch_size",
                "train.grad_accum=2000000000 | train.grad_accum (2000000000) is more than 2147483647",
                "model.num_layers=2000000000 | model.num_layers is 2000000000; set it to a number from 1 to 1024.",
                "model.embedding_dim=46340 | weights, of which 2147483647 are possible; lower model.embedding_dim",
                "train.iters= | train.iters is empty",
                "train.iters | has no value",
                "train=3 | group of settings",
                "train.iterz=3 | did you mean train.iters?",
                "train.lr=3 | did you mean train.max_lr?",
                "learning_rate=3 | did you mean train.max_lr?",
                "train.dropout=3 | did you mean model.dropout?",
                "model.block_size=3 | did you mean model.context_length?",
                "model.context_length=0 | model.context_length is 0",
                "model.context_length=20000 | too few for a context of 20000",
                "model.num_heads=5 | model.num_heads (5)",
                "model.dropout=1 | model.dropout is 1.0",
                "model.dropout=-0.1 | model.dropout is -0.1",
                "model.init=zeros | one of pytorch, gpt2",
                "model.name=GPT | choose one of BigramLM, SingleHeadAttentionLM,",
            })
    void wrongSettingsAreNamedAndLeaveNothing(String setting, String words) {
        Cli.Result result = Cli.run(args(corpus, run, "--set", setting));

        assertThat(result.err()).contains(words);
        assertThat(result.err().lines().filter(line -> line.startsWith("drakegpt: ")))
                .hasSize(1);
        assertThat(result.code()).isEqualTo(2);
        assertThat(result.out()).isEmpty();
        assertThat(run).doesNotExist();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--model GPT | choose one of BigramLM,",
                "--device gpu | There is no device",
                "--config nope | There is no configuration",
                "--threads 0 | 0 threads",
                "--threads -2 | -2 threads",
                "--iters x | is not an int",
                "--iters | Missing required parameter for option",
                "--bogus | train has no option --bogus; see drakegpt train --help.",
                "--max-iters=9 | train has no option --max-iters; did you mean --iters?",
                "--batch-size 32 | train has no option --batch-size; did you mean --set train.batch_size=...?",
                "--n_layer=2 | did you mean --set model.num_layers=...?",
                "--resme x | did you mean --resume?",
                "stray | drakegpt train takes no stray; see drakegpt train --help.",
                "--resume x | A resumed run keeps its settings",
            })
    void wrongOptionsAreOneSentence(String options, String words) {
        assertFails(Cli.run(args(corpus, run, options.split(" "))), 2, words);
        assertThat(run).doesNotExist();
    }

    @Test
    void wrongCorporaAreNamedAndLeaveNothing() throws IOException {
        Path file = Files.writeString(temp.resolve("plain.txt"), "la la");
        Path broken = TinyRuns.corpus(temp.resolve("broken"));
        Files.write(broken.resolve("train.bin"), new byte[] {1});
        Path tiny = temp.resolve("tiny");
        Corpus.prepare("la la").write(tiny);

        assertFails(Cli.run(args(temp.resolve("none"), run)), 1, "none does not exist");
        assertFails(Cli.run(args(file, run)), 1, file + " is not a folder");
        assertFails(Cli.run(args(temp, run)), 1, temp + " has no train.bin");
        assertFails(Cli.run(args(broken, run)), 1, broken.resolve("train.bin") + " has changed since setup wrote it");
        assertFails(Cli.run(args(tiny, run)), 2, "too few for a context of 8");
        assertThat(run).doesNotExist();
        bigram(corpus, run); // the folder is free
    }

    @Test
    void aFailedStartKeepsFilesThatAreNotARuns() throws IOException {
        Files.createDirectories(run);
        Files.writeString(run.resolve("notes.txt"), "mine");

        Cli.Result result = Cli.run(args(corpus, run, "--set", "model.context_length=200000"));

        assertThat(result.code()).isEqualTo(2);
        assertThat(run.toFile().list()).containsExactly("notes.txt");
    }

    @Test
    void anExistingRunIsNotOverwritten() throws IOException {
        bigram(corpus, run);
        Map<String, String> before = contents(run);

        assertFails(Cli.run(args(corpus, run)), 2, run + " already holds a run; continue it with --resume " + run);

        assertThat(contents(run)).isEqualTo(before);
    }

    @Test
    void aRunIsResumedOnlyWithItsCorpus() throws IOException {
        bigram(corpus, run);
        Path other = TinyRuns.corpus(temp.resolve("other"), "abc xyz ".repeat(150));
        Map<String, String> before = contents(run);

        String[] resume = {"train", "--resume", run.toString(), "--iters", "30", "--data", other.toString()};
        assertFails(Cli.run(resume), 2, other + " is not the one that " + run + " was trained on (" + corpus + ")");

        assertThat(contents(run)).isEqualTo(before);
    }

    @Test
    void onlyARunCanBeResumed() {
        assertFails(Cli.run("train", "--resume", temp.resolve("none").toString()), 1, "none is not a folder");
        assertFails(Cli.run("train", "--resume", corpus.toString()), 1, corpus + " is not the folder of a run");
    }

    @Test
    void aRunIsTrainedByOneProcessAtATime() throws IOException {
        bigram(corpus, run);
        Folder lock = RunFolder.open(run).lock();
        try (lock) {
            assertFails(Cli.run("train", "--resume", run.toString()), 1, run + " is being used by process ");
        }
        assertThat(Cli.run("train", "--resume", run.toString()).code()).isZero();
    }

    @ParameterizedTest
    @CsvSource({
        "model.safetensors, 100",
        "model.safetensors, 4",
        "optimizer.safetensors, 1000",
        "state.json, 10",
        "config.json, 20",
        "config.json, 0",
        "vocab.json, 5",
        "vocab.json, 0"
    })
    void aTruncatedFileIsNamedAndTheRunStaysAsItIs(String name, int bytes) throws IOException {
        bigram(corpus, run);
        Path file = run.resolve(name);
        Files.write(file, Arrays.copyOf(Files.readAllBytes(file), bytes));
        Map<String, String> before = contents(run);

        assertFails(Cli.run("train", "--resume", run.toString(), "--iters", "30"), 1, file.toString());

        assertThat(contents(run)).isEqualTo(before);
    }

    @Test
    void weightsThatHaveChangedAreNamedAndTakenOnlyOnDemand() throws IOException {
        bigram(corpus, run);
        Path file = run.resolve(RunFolder.MODEL);
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 4] ^= 1; // the last bit of the last weight
        Files.write(file, bytes);
        String changed = file + " has changed since it was saved: its SHA-256 sum is not the one in state.json";

        assertFails(
                Cli.run("train", "--resume", run.toString(), "--iters", "30"),
                1,
                changed + "; take it from a backup, or go on with it as it is with --resume " + run
                        + " --ignore-checksums.");
        Cli.Result text = Cli.run("score", "--run", run.toString(), "--string", "rain on the roof");
        assertThat(text.code()).isZero();
        assertThat(text.err()).contains(changed + ".\n");

        Cli.Result result = Cli.run("train", "--resume", run.toString(), "--iters", "30", "--ignore-checksums");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(Cli.run("score", "--run", run.toString(), "--string", "rain on the roof")
                        .err())
                .doesNotContain("SHA-256");
        assertFails(Cli.run(args(corpus, temp.resolve("new"), "--ignore-checksums")), 2, "give that run with --resume");
    }

    @ParameterizedTest
    @CsvSource({
        "model.safetensors, F32, F64",
        "model.safetensors, token_embedding, token_embidding",
        "optimizer.safetensors, exp_avg., exp_avh.",
        "state.json, '\"step\" : 20', '\"step\" : \"x\"'",
        "state.json, '\"step\" : 20', '\"steps\" : 20'",
        "config.json, vocab_size, vocab_sise",
        "config.json, BigramLM, BigrumLM",
        "config.json, '\"num_heads\" : 4', '\"num_heads\" : 0'",
        "config.json, '\"batch_size\" : 32', '\"batch_size\" : -3'",
        "config.json, '\"batch_size\" : 32', '\"batch_size\" : \"x\"'",
        "config.json, '\"batch_size\" :', '\"batch_sise\" :'",
        "vocab.json, '\"a\",', ''",
        "vocab.json, '\"a\",', '\"a\",\"a\",'"
    })
    void aTamperedFileIsOneSentenceAndTheRunStaysAsItIs(String name, String found, String replacement)
            throws IOException {
        bigram(corpus, run);
        Path file = run.resolve(name);
        String text = Files.readString(file, StandardCharsets.ISO_8859_1);
        assertThat(text).contains(found);
        Files.writeString(file, text.replace(found, replacement), StandardCharsets.ISO_8859_1);
        Map<String, String> before = contents(run);

        Cli.Result result = Cli.run("train", "--resume", run.toString(), "--iters", "30");

        assertThat(result.err().lines().filter(line -> line.startsWith("drakegpt: ")))
                .as(result.err())
                .hasSize(1);
        assertThat(result.err()).doesNotContain("\tat ", "io.github.drakegpt");
        assertThat(result.code()).isBetween(1, 2);
        assertThat(contents(run)).isEqualTo(before);
    }

    @Test
    void aDivergedRunSaysWhatToLowerAndKeepsItsCheckpoint() throws IOException {
        String[] diverging = {"--model", "BigramLM", "--set", "train.max_lr=1e30", "--set", "train.base_lr=1e30"};

        assertFails(Cli.run(args(corpus, run, diverging)), 1, "there is no checkpoint yet); lower train.max_lr");

        assertThat(run).doesNotExist();
    }

    @Test
    void aFolderThatCannotBeMadeIsNamed() throws IOException {
        Path file = Files.writeString(temp.resolve("file"), "mine");

        assertFails(Cli.run(args(corpus, file)), 1, file + " is not a folder");
        assertFails(Cli.run(args(corpus, file.resolve("below"))), 1, file + "/below: Not a directory");
        assertThat(file).hasContent("mine");
    }

    @Test
    void aFolderWithoutPermissionIsNamed() throws IOException {
        Path locked = Files.createDirectories(temp.resolve("locked"));
        assumeThat(locked.toFile().setWritable(false)).isTrue();
        assumeThat(Files.isWritable(locked)).as("root may write everywhere").isFalse();

        assertFails(Cli.run(args(corpus, locked.resolve("run"))), 1, "No permission for " + locked);
    }

    @Test
    void tooLittleMemoryIsOneSentence() throws IOException, InterruptedException {
        Cli.Result result = Cli.runIn(
                temp, List.of("-Xmx64m"), args(corpus, run, "--set", "train.batch_size=100000", "--threads", "1"));

        assertFails(result, 1, "emory");
        assertThat(run).doesNotExist();
    }

    @Test
    void aFullDiskLeavesTheCheckpointFromBefore() throws IOException, InterruptedException {
        assumeThat(Path.of("/bin/bash")).isExecutable();
        TinyRuns.train(corpus, run);
        Map<String, String> before = contents(run);
        List<String> command = new ArrayList<>(List.of("/bin/bash", "-c", "ulimit -f 100; exec \"$@\"", "bash"));
        command.addAll(Cli.command(
                temp,
                List.of("-XX:-UsePerfData"), // would be larger
                "train",
                "--resume",
                run.toString(),
                "--iters",
                "40"));

        Path err = temp.resolve("err");
        Process process = new ProcessBuilder(command)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(err.toFile())
                .start();
        process.getOutputStream().close();

        assertThat(process.waitFor()).isEqualTo(1);
        assertThat(err).content().contains("drakegpt: Could not write " + run).doesNotContain("\tat ");
        Map<String, String> after = contents(run);
        for (String name : List.of("model.safetensors", "best.safetensors", "optimizer.safetensors", "state.json")) {
            assertThat(after.get(name)).isEqualTo(before.get(name));
        }
        Cli.Result resumed = Cli.run("train", "--resume", run.toString(), "--iters", "40");
        assertThat(resumed.code()).as(resumed.err()).isZero();
        assertSameWeights(run, TinyRuns.train(corpus, temp.resolve("whole"), "--set", "train.iters=40"));
    }

    /** After which the model was evaluated. */
    private static List<Integer> steps(Path run) throws IOException {
        return MetricsFile.read(run.resolve(RunFolder.METRICS)).stream()
                .filter(Metrics::isEvaluation)
                .map(Metrics::step)
                .toList();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "runs/a-1",
                "a b",
                "it's",
                "a \"b\" $HOME `x`!",
                "two\nlines",
                "(a) & b; c > d",
                "\u05d0\u05d1 \ud83d\ude00"
            })
    void theCommandThatResumesNamesTheFolderAsAShellReadsIt(String name) throws IOException, InterruptedException {
        Path shell = Path.of("/bin/sh");
        assumeThat(shell).isExecutable();
        Process echo = new ProcessBuilder(shell.toString(), "-c", "printf %s " + Shell.quoted(name)).start();

        assertThat(new String(echo.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
                .isEqualTo(name);
        assertThat(echo.waitFor()).isZero();
    }
}
