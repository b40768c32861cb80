package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Imports what PyTorch wrote (scripts/make_interop_fixtures.py) and goes on with it. */
class ImportCommandTest {
    private static final String FILES = "src/test/resources/interop/";
    private static final String VOCAB = FILES + "meta.pkl";
    private static final String TEXT = "a bad cab, a big face.\nhe lied, ücalled back. jig ";

    @TempDir
    Path temp;

    private Cli.Result run(String file, String vocab, String... more) {
        List<String> args = new ArrayList<>(List.of(
                "import",
                FILES + file,
                "--vocab",
                vocab,
                "--run",
                temp.resolve("run").toString()));
        args.addAll(List.of(more));
        return Cli.run(args.toArray(String[]::new));
    }

    private JsonNode model() throws IOException {
        return RunFolder.open(temp.resolve("run")).config().get("model");
    }

    @ParameterizedTest
    @CsvSource({
        "SingleHeadAttentionLM, 1457",
        "MultiHeadAttentionLM, 1457",
        "BlocksLM, 2769",
        "ResidualBlocksLM, 7025",
        "TransformerLM, 7153",
        "BigramLM, 289"
    })
    void makesARunOfEachModelThatScores(String name, int parameters) throws IOException {
        String[] context = name.equals("BigramLM") ? new String[] {"--set", "model.context_length=8"} : new String[0];
        Cli.Result result = run(name + ".pt", VOCAB, context);
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .isEqualTo(String.format("%s with %,d parameters in %s%n", name, parameters, temp.resolve("run")));
        assertThat(model().get("name").asText()).isEqualTo(name);
        String run = temp.resolve("run").toString();
        assertThat(Cli.run("score", "--run", run, "--string", TEXT, "--json").json())
                .singleElement()
                .satisfies(score -> assertThat(score.get("nll").asDouble()).isBetween(1.0, 6.0));
    }

    @Test
    void theFinalNormIsAppliedOnlyIfAsked() throws IOException {
        Cli.Result result = run("TransformerLM.pt", VOCAB);
        assertThat(model().get("final_norm").asBoolean()).isFalse();
        assertThat(result.err())
                .contains("ln_f.bias and ln_f.weight were trained and are not applied; if the model applies its final"
                        + " norm, import it with --final-norm.");
        String other = temp.resolve("other").toString();
        Cli.Result applied =
                Cli.run("import", FILES + "TransformerLM.pt", "--vocab", VOCAB, "--run", other, "--final-norm");
        assertThat(applied.err()).doesNotContain("ln_f");
        assertThat(RunFolder.open(Path.of(other)).modelConfig().finalNorm()).isTrue();
    }

    @Test
    void aRunWithItsCorpusIsResumed() throws IOException {
        Path corpus = TinyRuns.corpus(temp.resolve("corpus"), TEXT.repeat(20) + "klab, k");
        Cli.Result result =
                run("no-final-norm.pt", corpus.toString(), "--set", "train.eval_interval=10", "--iters", "20");
        assertThat(result.code()).as(result.err()).isZero();
        Path run = temp.resolve("run");
        Cli.Result trained = Cli.run("train", "--resume", run.toString());
        assertThat(trained.code()).as(trained.err()).isZero();
        assertThat(RunFolder.open(run).state().step()).isEqualTo(20);
    }

    /** Without its corpus it lends its weights, and its sizes, to a new run; and it is quantized and reported. */
    @Test
    void aRunWithoutItsCorpusIsGoneOnFrom() throws Exception {
        run("no-final-norm.pt", VOCAB);
        String run = temp.resolve("run").toString();
        Path corpus = TinyRuns.corpus(temp.resolve("corpus"), TEXT.repeat(20) + "klab, k");
        assertFails(
                Cli.run("train", "--resume", run, "--data", corpus.toString()),
                2,
                run + " was imported without the corpus that it was trained on; begin a new run with --init-from "
                        + run);
        Path next = TinyRuns.train(corpus, temp.resolve("next"), "--init-from", run);
        assertThat(RunFolder.open(next).modelConfig())
                .isEqualTo(RunFolder.open(Path.of(run)).modelConfig());

        Cli.Result quantized = Cli.run("quantize", "--run", run, "--to", "b1.58");
        assertThat(quantized.code()).as(quantized.err()).isZero();
        assertThat(quantized.err()).contains("The run's corpus is not here");
        Cli.Result profiled = Cli.run(
                "profile", "--run", run, "--run", run + "-packed", "--data", corpus.toString(), "--seconds", "0.1");
        assertThat(profiled.code()).as(profiled.err()).isZero();
        Cli.Result text = Cli.runIn(temp, "generate", "--run", run, "--length", "30");
        assertThat(text.code()).as(text.err()).isZero();
        Path page = temp.resolve("page.html");
        Cli.Result report = Cli.run("report", run, next.toString(), "--out", page.toString());
        assertThat(report.code()).as(report.err()).isZero();
        assertThat(page).isNotEmptyFile();
    }

    @Test
    void asksForWhatAFileCannotTell() {
        assertFails(
                run("BigramLM.pt", VOCAB),
                1,
                "does not tell how many characters a BigramLM is scored on at once; say so with --set"
                        + " model.context_length=N.");
        assertThat(temp.resolve("run")).doesNotExist();
        assertFails(Cli.run("import", FILES + "BigramLM.pt"), 2, "--vocab");
    }

    @ParameterizedTest
    @ValueSource(strings = {"module.pt", "meta.pkl", "../fixtures/BigramLM.safetensors", "none.pt"})
    void whatCannotBeImportedLeavesNothing(String file) {
        assertFails(run(file, VOCAB), 1, file.substring(file.lastIndexOf('/') + 1));
        assertThat(temp.resolve("run")).doesNotExist();
    }

    @Test
    void refusesWhatDoesNotFit() throws IOException {
        assertFails(
                run("BlocksLM.pt", VOCAB, "--model", "TransformerLM"),
                1,
                "BlocksLM.pt holds a BlocksLM and no TransformerLM; give another file, or leave out --model.");
        assertFails(run("BlocksLM.pt", VOCAB, "--model", "GPT"), 2, "There is no model 'GPT'");
        Path text = Files.writeString(temp.resolve("text.txt"), "abc abc");
        assertFails(run("BlocksLM.pt", text.toString()), 1, "has 4 characters where the model has 17");
        assertThat(temp.resolve("run")).doesNotExist();
        assertThat(run("BlocksLM.pt", VOCAB).code()).isZero();
        assertFails(run("BlocksLM.pt", VOCAB), 2, "already holds a run; choose another folder.");
    }
}
