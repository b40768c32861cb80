package io.github.drakegpt.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Files that PyTorch wrote (scripts/make_interop_fixtures.py), and files that it never would. */
class ImportedModelTest {
    private static final Path FILES = Path.of("src/test/resources/interop");
    private static final Path FIXTURES = Path.of("src/test/resources/fixtures");
    private static final String CHARACTERS = "\n ,.abcdefghijkl\u00fc";

    @SuppressWarnings("unused") // by FieldSource
    private static final Iterable<String> NAMES = Models.NAMES;

    @TempDir
    Path folder;

    // ---------------------------------------------------------------------------------------------- what torch writes

    @ParameterizedTest
    @FieldSource("NAMES")
    void readsEachModelToTheBit(String name) throws IOException {
        ImportedModel model = ImportedModel.read(FILES.resolve(name + ".pt"));

        assertThat(model.name()).isEqualTo(name);
        assertThat(model.vocabSize()).isEqualTo(17);
        assertSizes(model);
        assertThat(weights(model, true)).isEqualTo(fixture(name, true));
    }

    private static void assertSizes(ImportedModel model) {
        Map<String, Integer> all = new LinkedHashMap<>();
        all.put("context_length", 8);
        all.put("embedding_dim", 16);
        switch (model.name()) {
            case Models.BIGRAM -> all.clear();
            case Models.SINGLE_HEAD -> all.put("head_size", 16);
            case Models.MULTI_HEAD -> {
                all.put("num_heads", 4);
                all.put("head_size", 16);
            }
            default -> {
                all.put("num_heads", 4);
                all.put("num_layers", 2);
            }
        }
        assertThat(model.sizes()).isEqualTo(all);
    }

    @ParameterizedTest
    @ValueSource(strings = {"no-final-norm", "legacy", "compressed", "checkpoint", "views", "f64"})
    void readsEachFormToTheBit(String file) throws IOException {
        ImportedModel model = ImportedModel.read(FILES.resolve(file + ".pt"));
        assertThat(model.name()).isEqualTo(Models.TRANSFORMER);
        assertSizes(model);
        assertThat(weights(model, false)).isEqualTo(fixture("TransformerLM-no-final-norm", false));
        assertThat(model.dropped()).containsExactly("ln_f.bias", "ln_f.weight"); // which the fixture moved off 1 and 0
    }

    @ParameterizedTest
    @ValueSource(strings = {"f16", "bf16"})
    void readsRoundedWeightsExactly(String type) throws IOException {
        ImportedModel model = ImportedModel.read(FILES.resolve(type + ".pt"));
        Safetensors rounded = Safetensors.read(FILES.resolve(type + ".safetensors"));
        assertThat(weights(model, false)).isEqualTo(StateDict.read(rounded, parameters(model, false), ""));
        ImportedModel same = ImportedModel.read(FILES.resolve(type + ".safetensors"));
        assertThat(weights(same, false)).isEqualTo(weights(model, false));
    }

    @Test
    void saysHowToSaveAStateDictInsteadOfAModule() {
        assertThatThrownBy(() -> ImportedModel.read(FILES.resolve("module.pt")))
                .isInstanceOf(ForeignFileException.class)
                .hasMessage(FILES.resolve("module.pt") + " refers to Python's drakegpt_torch.LanguageModel, which no"
                        + " state_dict needs; save the model anew with torch.save(model.state_dict(), FILE).");
    }

    /** The length of a safetensors header may begin with the byte that a pickle begins with. */
    @Test
    void tellsSafetensorsFromPickles() throws IOException {
        Path file = folder.resolve("x");
        for (int length = 0; length < 64; length++) {
            try (var out = Files.newOutputStream(file)) {
                var table = new Safetensors.Source(BIGRAM, Shape.of(2, 2), new float[4], 0);
                Safetensors.write(out, Map.of("note", "x".repeat(8 * length)), List.of(table));
            }
            assertThat(ImportedModel.read(file).name()).isEqualTo(Models.BIGRAM);
        }
    }

    /** A vocabulary in another order than that of its characters: their rows, and a bigram's columns, move with them. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void idsMayBeInAnyOrder(String name) throws IOException {
        Path reversed = Files.writeString(
                folder.resolve("chars.txt"),
                new StringBuilder(CHARACTERS).reverse().toString());
        ImportedModel model = ImportedModel.read(FILES.resolve(name + ".pt"));
        ImportedVocabulary vocabulary = ImportedVocabulary.read(reversed, 17);
        assertThat(vocabulary.tokenizer().characters()).isEqualTo(CHARACTERS);

        float[] weights = model.weights(config(model, true), vocabulary);

        float[] sorted = weights(model, true);
        for (Parameters.Entry entry : parameters(model, true).entries()) {
            int width = entry.shape().rank() == 1 ? 1 : entry.shape().columns();
            boolean rows = entry.name().startsWith("token_") || entry.name().startsWith("lm_head");
            for (int i = 0; i < entry.shape().size(); i++) {
                int row = rows ? 16 - i / width : i / width;
                int column = name.equals(Models.BIGRAM) ? 16 - i % width : i % width;
                int from = (int) entry.offset();
                assertThat(weights[from + i]).as(entry.name()).isEqualTo(sorted[from + row * width + column]);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- vocabularies

    @Test
    void readsEachKindOfVocabulary() throws IOException {
        Path corpus = Files.writeString(folder.resolve("corpus.txt"), (CHARACTERS + CHARACTERS).repeat(20));
        assertThat(vocabulary(corpus).corpus()).isPresent();
        assertThat(vocabulary(FILES.resolve("meta.pkl")).corpus()).isEmpty();
        assertThat(vocabulary(Files.writeString(folder.resolve("list.txt"), CHARACTERS))
                        .corpus())
                .isEmpty();
        assertThat(vocabulary(Files.writeString(folder.resolve("edited.txt"), CHARACTERS + "\n"))
                        .corpus())
                .isEmpty();
        CharTokenizer.of(CHARACTERS).write(folder.resolve("vocab.json"));
        assertThat(vocabulary(folder.resolve("vocab.json")).corpus()).isEmpty();
        assertThat(vocabulary(folder).corpus()).isEmpty(); // a run's
    }

    private static ImportedVocabulary vocabulary(Path path) throws IOException {
        ImportedVocabulary vocabulary = ImportedVocabulary.read(path, 17);
        assertThat(vocabulary.tokenizer().characters()).isEqualTo(CHARACTERS);
        return vocabulary;
    }

    @Test
    void refusesAVocabularyOfAnotherSize() throws IOException {
        for (String text : new String[] {"", "abc", "abcabc", CHARACTERS + "x", CHARACTERS + "x\n"}) {
            Path file = Files.writeString(folder.resolve("chars.txt"), text);
            assertThatThrownBy(() -> ImportedVocabulary.read(file, 17))
                    .isInstanceOf(ForeignFileException.class)
                    .hasMessageMatching(".* has \\d+ characters where the model has 17; give the vocabulary that it was"
                            + " trained with\\.");
        }
        assertThatThrownBy(() -> ImportedVocabulary.read(FILES.resolve("meta.pkl"), 18))
                .hasMessageContaining("has 17 characters where the model has 18");
    }

    @Test
    void refusesOtherPicklesAsAVocabulary() throws IOException {
        Path file = folder.resolve("meta.pkl");
        Files.write(
                file,
                new PickleBytes()
                        .global("os", "system")
                        .text("id")
                        .op(0x85)
                        .ops("R")
                        .end());
        assertThatThrownBy(() -> ImportedVocabulary.read(file, 17))
                .hasMessage(file + " refers to Python's os.system, which no meta.pkl needs; write it as nanoGPT's"
                        + " data/shakespeare_char/prepare.py does.");
        Files.write(file, new PickleBytes().ops("]").end());
        assertThatThrownBy(() -> ImportedVocabulary.read(file, 17)).hasMessageContaining("has no dictionary itos");
        Files.write(
                file,
                new PickleBytes()
                        .ops("}")
                        .text("itos")
                        .ops("}")
                        .op('K', 1)
                        .text("a")
                        .ops("ss")
                        .end());
        assertThatThrownBy(() -> ImportedVocabulary.read(file, 1)).hasMessageContaining("no one character for id 0");
    }

    // ---------------------------------------------------------------------------------------------- bad files

    private static final String BIGRAM = "token_embedding_table.weight";

    /** A bigram's table of 2 x 2 in an archive like PyTorch's. */
    private Path archive(byte[] pickle, byte[] storage) throws IOException {
        Map<String, byte[]> entries = new LinkedHashMap<>();
        entries.put("m/data.pkl", pickle);
        entries.put("m/data/0", storage);
        return archive(entries);
    }

    private Path archive(Map<String, byte[]> entries) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
            for (Map.Entry<String, byte[]> entry : entries.entrySet()) {
                zip.putNextEntry(new ZipEntry(entry.getKey()));
                zip.write(entry.getValue());
            }
        }
        return Files.write(folder.resolve("m.pt"), bytes.toByteArray());
    }

    private static byte[] table(int elements, int offset, int[] sizes, int[] strides) {
        return new PickleBytes()
                .ops("}")
                .text(BIGRAM)
                .tensor("0", elements, offset, sizes, strides)
                .ops("s")
                .end();
    }

    private static byte[] floats(float... values) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return bytes.array();
    }

    @Test
    void readsStridesAndOffsets() throws IOException {
        byte[] storage = floats(9, 1, 2, 3, 4, 5);
        Path file = archive(table(6, 1, new int[] {2, 2}, new int[] {1, 2}), storage);
        ImportedModel model = ImportedModel.read(file);
        ImportedVocabulary ab = ImportedVocabulary.read(Files.writeString(folder.resolve("ab.txt"), "ab"), 2);
        float[] weights = model.weights(config(model, true), ab);
        assertThat(Arrays.copyOf(weights, 4)).containsExactly(1, 3, 2, 4);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            4 | 1 | 2,2 | 2,1 | it reaches beyond the 4 elements of its storage
            4 | 0 | 2,2 | 3,1 | it reaches beyond the 4 elements of its storage
            4 | 5 | 2,2 | 0,0 | it reaches beyond the 4 elements of its storage
            4 | -1 | 2,2 | 2,1 | its offset is negative
            4 | 0 | -2,2 | 2,1 | a size or a stride is negative
            4 | 0 | -2,-2 | 2,1 | a size or a stride is negative
            4 | 0 | 2,2 | -2,1 | a size or a stride is negative
            4 | 3 | 2,2 | 0,-1 | a size or a stride is negative
            4 | 0 | 65536,65536 | 0,0 | it has more than 2147483647 elements
            4 | 0 | 2147483647,2147483647 | 2147483647,2147483647 | it has more than 2147483647 elements
            4 | 0 | 3,3 | 0,1 | it repeats elements of its storage
            4 | 0 | 2,2 | 1 | it has 2 dimensions and 1 strides
            """)
    void refusesViewsThatAreNotPossible(int elements, int offset, String sizes, String strides, String why)
            throws IOException {
        Path file = archive(table(elements, offset, ints(sizes), ints(strides)), floats(1, 2, 3, 4));
        assertThatThrownBy(() -> ImportedModel.read(file))
                .isInstanceOf(CorruptFileException.class)
                .hasMessageContaining("a tensor is not possible, since " + why);
    }

    private static int[] ints(String list) {
        return Arrays.stream(list.split(",")).mapToInt(Integer::parseInt).toArray();
    }

    @Test
    void refusesStoragesShorterThanTheirTensors() throws IOException {
        byte[] pickle = table(4, 0, new int[] {2, 2}, new int[] {2, 1});
        assertThatThrownBy(() -> ImportedModel.read(archive(pickle, floats(1, 2, 3))))
                .hasMessageContaining("storage 0 has 12 bytes where its tensors need 16");
        assertThatThrownBy(() -> ImportedModel.read(archive(Map.of("m/data.pkl", pickle))))
                .hasMessageContaining("storage 0 has 0 bytes where its tensors need 16");
        for (int elements : new int[] {-1, Integer.MAX_VALUE}) {
            byte[] impossible = table(elements, 0, new int[] {2, 2}, new int[] {2, 1});
            assertThatThrownBy(() -> ImportedModel.read(archive(impossible, floats(1, 2, 3, 4))))
                    .hasMessageContaining("storage 0 cannot have " + elements + " elements");
        }
    }

    @Test
    void refusesTensorsThatShareTooMuch() throws IOException {
        PickleBytes pickle = new PickleBytes().ops("}");
        for (int i = 0; i < 20; i++) {
            pickle.text("t" + i)
                    .tensor("0", 4, 0, new int[] {2, 2}, new int[] {2, 1})
                    .ops("s");
        }
        assertThatThrownBy(() -> ImportedModel.read(archive(pickle.end(), floats(1, 2, 3, 4))))
                .isInstanceOf(ForeignFileException.class)
                .hasMessageContaining("has tensors that share their storages many times over");
    }

    @Test
    void refusesArchivesOfOthers() throws IOException {
        assertThatThrownBy(() -> ImportedModel.read(archive(Map.of("a.txt", new byte[3]))))
                .hasMessageContaining("is a zip archive without a data.pkl");
        byte[] pickle = table(4, 0, new int[] {2, 2}, new int[] {2, 1});
        assertThatThrownBy(() -> ImportedModel.read(archive(Map.of("m/data.pkl", pickle, "../x", new byte[1]))))
                .isInstanceOf(CorruptFileException.class)
                .hasMessageContaining("has an unsafe path, ../x");
        Path file = archive(pickle, floats(1, 2, 3, 4));
        byte[] whole = Files.readAllBytes(file);
        for (int length = 1; length < whole.length; length += 7) {
            Files.write(file, Arrays.copyOf(whole, length));
            assertThatThrownBy(() -> ImportedModel.read(file))
                    .isInstanceOfAny(CorruptFileException.class, ForeignFileException.class);
        }
        Map<String, byte[]> bomb = new LinkedHashMap<>();
        bomb.put("m/data.pkl", pickle);
        bomb.put("m/data/0", new byte[40 << 20]);
        assertThatThrownBy(() -> ImportedModel.read(archive(bomb)))
                .hasMessageContaining("would unpack to far more than weights need, at m/data/0");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "P", "PK", "hello", "{}", "\u0080", "<html></html> and more"})
    void refusesOtherFiles(String content) throws IOException {
        Path file = Files.write(folder.resolve("x"), content.getBytes(StandardCharsets.ISO_8859_1));
        assertThatThrownBy(() -> ImportedModel.read(file))
                .isInstanceOf(ForeignFileException.class)
                .hasMessageContaining("give a file of torch.save or a safetensors file");
    }

    @Test
    void refusesFoldersAndPointers() throws IOException {
        assertThatThrownBy(() -> ImportedModel.read(folder))
                .hasMessage(folder + " is a folder; give a file of torch.save or a safetensors file.");
        Path pointer = Files.writeString(
                folder.resolve("x.pt"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
        assertThatThrownBy(() -> ImportedModel.read(pointer)).hasMessageContaining("git lfs pull");
    }

    @Test
    @Timeout(60)
    void refusesCutLegacyFiles() throws IOException {
        byte[] whole = Files.readAllBytes(FILES.resolve("legacy.pt"));
        Path file = folder.resolve("x.pt");
        for (int length = 2; length < whole.length; length += 97) {
            Files.write(file, Arrays.copyOf(whole, length));
            assertThatThrownBy(() -> ImportedModel.read(file)).isInstanceOf(CorruptFileException.class);
        }
        Files.write(file, new PickleBytes().op('K', 1).end());
        assertThatThrownBy(() -> ImportedModel.read(file))
                .hasMessageContaining("is a pickle that torch.save did not write");
    }

    @Test
    void refusesObjectsThatHoldNoStateDict() throws IOException {
        for (String letters : new String[] {"}", "]", "N", "K\u0001"}) {
            byte[] pickle = new PickleBytes().ops(letters).end();
            assertThatThrownBy(() -> ImportedModel.read(archive(pickle, new byte[4])))
                    .isInstanceOf(ForeignFileException.class)
                    .hasMessageContaining("torch.save(model.state_dict(), FILE)");
        }
        byte[] recursive =
                new PickleBytes().ops("}q\u0000").text("model").ops("h\u0000s").end();
        assertThatThrownBy(() -> ImportedModel.read(archive(recursive, new byte[4])))
                .hasMessageContaining("has no state_dict, neither as a whole nor under model, state_dict");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            transformer.wte.weight | holds a model of GPT-2's kind, such as nanoGPT's
            weight | has no token_embedding_table.weight, so it holds none of the six models
            """)
    void refusesOtherModels(String tensor, String why) throws IOException {
        byte[] pickle = new PickleBytes()
                .ops("}")
                .text(tensor)
                .tensor("0", 4, 0, new int[] {2, 2}, new int[] {2, 1})
                .ops("s")
                .end();
        assertThatThrownBy(() -> ImportedModel.read(archive(pickle, floats(1, 2, 3, 4))))
                .isInstanceOf(ForeignFileException.class)
                .hasMessageContaining(why);
    }

    /** What is missing, left over, or of another shape than the others is named. */
    @Test
    void refusesTensorsThatDoNotBelongTogether() throws IOException {
        assertThatThrownBy(() -> changed("lm_head.bias", null)).hasMessageContaining("has no tensor lm_head.bias");
        assertThatThrownBy(() -> changed("lm_head.bias", new float[16]))
                .hasMessageContaining("tensor lm_head.bias has the shape (16) where its other tensors need (17)");
        assertThatThrownBy(() -> changed("lm_tail.bias", new float[16]))
                .hasMessageContaining("has a tensor that no SingleHeadAttentionLM of its sizes has, lm_tail.bias");
        assertThatThrownBy(() -> changed("lm_head.bias", nan()))
                .hasMessageContaining("tensor lm_head.bias has values that are NaN or infinite");
    }

    private static float[] nan() {
        float[] values = new float[17];
        values[3] = Float.NaN;
        return values;
    }

    /** Reads SingleHeadAttentionLM with one vector replaced, added, or left out. */
    private void changed(String tensor, float[] values) throws IOException {
        Map<String, FileTensor> tensors =
                new LinkedHashMap<>(Safetensors.read(safetensors()).tensors());
        List<Safetensors.Source> sources = new ArrayList<>();
        for (Map.Entry<String, FileTensor> entry : tensors.entrySet()) {
            if (!entry.getKey().equals(tensor)) {
                sources.add(new Safetensors.Source(
                        entry.getKey(),
                        entry.getValue().shape(),
                        entry.getValue().values().read(),
                        0));
            }
        }
        if (values != null) {
            sources.add(new Safetensors.Source(tensor, Shape.of(values.length), values, 0));
        }
        Path file = folder.resolve("changed.safetensors");
        try (var out = Files.newOutputStream(file)) {
            Safetensors.write(out, Map.of(), sources);
        }
        weights(ImportedModel.read(file), true);
    }

    /** SingleHeadAttentionLM as safetensors. */
    private Path safetensors() throws IOException {
        ImportedModel model = ImportedModel.read(FILES.resolve(Models.SINGLE_HEAD + ".pt"));
        Path file = folder.resolve("model.safetensors");
        try (var out = Files.newOutputStream(file)) {
            StateDict.write(out, parameters(model, true), weights(model, true), Map.of());
        }
        return file;
    }

    // ---------------------------------------------------------------------------------------------- what is expected

    private static ModelConfig config(ImportedModel model, boolean finalNorm) {
        Map<String, Integer> sizes = model.sizes();
        return new ModelConfig(
                model.name(),
                model.vocabSize(),
                sizes.getOrDefault("context_length", 8),
                sizes.getOrDefault("embedding_dim", 16),
                sizes.getOrDefault("head_size", 16),
                sizes.getOrDefault("num_heads", 4),
                sizes.getOrDefault("num_layers", 2),
                0,
                finalNorm,
                Init.PYTORCH,
                Quantization.NONE,
                false);
    }

    private static Parameters parameters(ImportedModel model, boolean finalNorm) {
        return LanguageModel.parametersOf(config(model, finalNorm));
    }

    private static float[] weights(ImportedModel model, boolean finalNorm) throws IOException {
        return model.weights(
                config(model, finalNorm), ImportedVocabulary.read(FILES.resolve("meta.pkl"), model.vocabSize()));
    }

    private static float[] fixture(String name, boolean finalNorm) throws IOException {
        ImportedModel sizes = ImportedModel.read(FILES.resolve((finalNorm ? name : "no-final-norm") + ".pt"));
        return StateDict.read(
                Safetensors.read(FIXTURES.resolve(name + ".safetensors")), parameters(sizes, finalNorm), "weights.");
    }
}
