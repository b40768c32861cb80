package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is exported, read again; ONNX by ONNX Runtime. PyTorch reads it in scripts/check_interop.py. */
class ExportCommandTest {
    private static final String FILES = "src/test/resources/interop/";
    private static final String VOCAB = FILES + "meta.pkl";
    private static final int CONTEXT = 8;
    private static final int BATCH = 3;

    @TempDir
    static Path shared;

    private static Path corpus;

    @TempDir
    Path temp;

    @BeforeAll
    static void makeCorpus() throws IOException {
        corpus = TinyRuns.corpus(shared.resolve("corpus"));
    }

    private Path imported(String file, String... more) {
        Path run = temp.resolve("imported-" + file.replace('/', '-'));
        String[] args = {"import", FILES + file, "--vocab", VOCAB, "--run", run.toString()};
        Cli.Result result = Cli.run(with(args, more));
        assertThat(result.code()).as(result.err()).isZero();
        return run;
    }

    private Path export(Path run, String format, String... more) {
        Path file = temp.resolve(run.getFileName() + "." + format + String.join("", more));
        String[] args = {"export", "--run", run.toString(), "--format", format, "--out", file.toString()};
        Cli.Result result = Cli.run(with(args, more));
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).matches("(?s)" + file + ", [0-9,]+ bytes\n");
        return file;
    }

    // ---------------------------------------------------------------------------------------------- PyTorch's formats

    /** The masks, and the norm that is not applied, come with the weights: load_state_dict wants all that a module has. */
    @ParameterizedTest
    @ValueSource(strings = {"pytorch", "safetensors"})
    void whatIsExportedIsImportedToTheBit(String format) throws IOException {
        Path run = imported("no-final-norm.pt");
        Path file = export(run, format);
        Path again = temp.resolve("again");
        Cli.Result result = Cli.run("import", file.toString(), "--vocab", run.toString(), "--run", again.toString());
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(again.resolve(RunFolder.MODEL)).hasSameBinaryContentAs(run.resolve(RunFolder.MODEL));
    }

    @ParameterizedTest
    @CsvSource({"f16.pt, fp16", "bf16.pt, bf16"})
    void roundedWeightsStayWhatTheyAre(String file, String dtype) throws IOException {
        Path run = imported(file);
        Path exported = export(run, "safetensors", "--dtype", dtype);
        Path again = temp.resolve("again");
        Cli.Result result =
                Cli.run("import", exported.toString(), "--vocab", run.toString(), "--run", again.toString());
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(again.resolve(RunFolder.MODEL)).hasSameBinaryContentAs(run.resolve(RunFolder.MODEL));
        assertThat(Files.size(exported)).isLessThan(Files.size(run.resolve(RunFolder.MODEL)) * 2 / 3);
    }

    /** PyTorch maps storages into memory at multiples of 64 bytes. */
    @Test
    void storagesAreAligned() throws IOException {
        byte[] bytes = Files.readAllBytes(export(imported("BlocksLM.pt"), "pytorch"));
        ByteBuffer zip = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int entries = 0;
        for (int at = 0; zip.getInt(at) == 0x04034b50; entries++) { // local file headers
            int name = zip.getShort(at + 26);
            int content = at + 30 + name + zip.getShort(at + 28);
            assertThat(content % 64)
                    .as(new String(bytes, at + 30, name, StandardCharsets.US_ASCII))
                    .isZero();
            at = content + zip.getInt(at + 18);
        }
        assertThat(entries).isGreaterThan(30);
    }

    // ---------------------------------------------------------------------------------------------- ONNX

    @ParameterizedTest
    @ValueSource(
            strings = {
                "BigramLM",
                "SingleHeadAttentionLM",
                "MultiHeadAttentionLM",
                "BlocksLM",
                "ResidualBlocksLM",
                "TransformerLM",
                "no-final-norm"
            })
    void onnxRuntimeComputesTheSameLogits(String model) throws Exception {
        String[] more = model.equals("BigramLM")
                ? new String[] {"--set", "model.context_length=" + CONTEXT}
                : model.equals("TransformerLM") ? new String[] {"--final-norm"} : new String[0];
        assertOnnxRuntimeAgrees(imported(model + ".pt", more), 1e-5);
    }

    /** Trained for a moment, and packed: the same file, whose inputs of 8 bits are rounded as ours. */
    @ParameterizedTest
    @ValueSource(strings = {"bitnet", "b1.58"})
    void onnxRuntimeComputesQuantizedModels(String quant) throws Exception {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", quant);
        assertOnnxRuntimeAgrees(run, 2e-2); // one activation of 8 bits may be rounded the other way
        assertThat(Cli.run("quantize", "--run", run.toString()).code()).isZero();
        assertThat(export(temp.resolve("run-packed"), "onnx")).hasSameBinaryContentAs(temp.resolve("run.onnx"));
    }

    private void assertOnnxRuntimeAgrees(Path folder, double tolerance) throws Exception {
        Path file = export(folder, "onnx");
        RunFolder run = RunFolder.open(folder);
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        try (OrtSession session = environment.createSession(file.toString())) {
            Map<String, String> metadata = session.getMetadata().getCustomMetadata();
            assertThat(metadata).containsEntry("context_length", "" + CONTEXT);
            assertThat(new ObjectMapper().readTree(metadata.get("vocab")))
                    .isEqualTo(new ObjectMapper().readTree(run.tokenizer().json()));
            int vocabulary = run.tokenizer().size();
            long[] all = new Random(5).longs(BATCH * CONTEXT, 0, vocabulary).toArray();
            float[][][] expected = logits(run, all);
            for (int batch = 1; batch <= BATCH; batch++) {
                for (int length = 1; length <= CONTEXT; length++) { // a model sees no later tokens
                    float[][][] actual = logits(environment, session, all, batch, length);
                    assertThat(actual).hasDimensions(batch, length);
                    for (int b = 0; b < batch; b++) {
                        for (int t = 0; t < length; t++) {
                            assertThat(actual[b][t]).hasSize(vocabulary).containsExactly(expected[b][t], within((float)
                                    tolerance));
                        }
                    }
                }
            }
        }
    }

    /** Ours, of (B, T) tokens. */
    private static float[][][] logits(RunFolder run, long[] tokens) throws IOException {
        try (Backend backend = Backends.create("cpu", 1);
                Arena arena = backend.newArena()) {
            LanguageModel model = LanguageModel.forEvaluation(run.modelConfig(), backend, arena, BATCH, null);
            model.load(run.loadWeights());
            model.tokens()
                    .write(Arrays.stream(tokens).mapToInt(token -> (int) token).toArray());
            model.forward(backend, Pass.evaluation(BATCH, CONTEXT));
            float[] flat = model.logits().toFloats();
            int vocabulary = run.tokenizer().size();
            float[][][] logits = new float[BATCH][CONTEXT][];
            for (int row = 0; row < BATCH * CONTEXT; row++) {
                logits[row / CONTEXT][row % CONTEXT] =
                        Arrays.copyOfRange(flat, row * vocabulary, (row + 1) * vocabulary);
            }
            return logits;
        }
    }

    /** ONNX Runtime's, of the first tokens of the first sequences. */
    private static float[][][] logits(
            OrtEnvironment environment, OrtSession session, long[] tokens, int batch, int length) throws OrtException {
        long[][] part = new long[batch][];
        for (int b = 0; b < batch; b++) {
            part[b] = Arrays.copyOfRange(tokens, b * CONTEXT, b * CONTEXT + length);
        }
        try (OnnxTensor input = OnnxTensor.createTensor(environment, part);
                OrtSession.Result result = session.run(Map.of("tokens", input))) {
            return (float[][][]) result.get("logits").orElseThrow().getValue();
        }
    }

    // ---------------------------------------------------------------------------------------------- refusals

    @Test
    void refusesWhatItCannotWrite() throws IOException {
        Path run = imported("BlocksLM.pt");
        String[] args = {
            "export", "--run", run.toString(), "--out", temp.resolve("out").toString(), "--format"
        };
        assertFails(Cli.run(with(args, "gguf")), 2, "gguf");
        assertFails(Cli.run("export", "--run", run.toString()), 2, "--format");
        assertFails(Cli.run(with(args, "onnx", "--dtype", "bf16")), 2, "Only safetensors are written in 16 bits");
        assertThat(temp.resolve("out")).doesNotExist();
        assertThat(Cli.run(with(args, "onnx")).code()).isZero();
        byte[] before = Files.readAllBytes(temp.resolve("out"));
        assertFails(Cli.run(with(args, "pytorch")), 2, "out is there already; give another name with --out.");
        assertThat(temp.resolve("out")).hasBinaryContent(before);
    }

    @Test
    void packedWeightsAreNoStateDict() throws IOException {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", "b1.58");
        assertThat(Cli.run("quantize", "--run", run.toString()).code()).isZero();
        String packed = temp.resolve("run-packed").toString();
        String out = temp.resolve("out").toString();
        assertFails(Cli.run("export", "--run", packed, "--format", "pytorch", "--out", out), 2, "holds packed weights");
        assertThat(Path.of(out)).doesNotExist();
    }

    private static String[] with(String[] args, String... more) {
        String[] all = Arrays.copyOf(args, args.length + more.length);
        System.arraycopy(more, 0, all, args.length, more.length);
        return all;
    }
}
