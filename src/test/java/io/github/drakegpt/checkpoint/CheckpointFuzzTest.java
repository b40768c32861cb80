package io.github.drakegpt.checkpoint;

import io.github.drakegpt.data.MemoryFolder;
import io.github.drakegpt.data.Mutants;
import io.github.drakegpt.data.SafeZip;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Damaged weights, pickles, and files of a run. */
class CheckpointFuzzTest {
    private static final Path FILES = Path.of("src/test/resources/interop");
    private static final Path RUN = Path.of("data/pretrained/BigramLM");
    private static final List<Class<? extends Exception>> FOREIGN =
            List.of(CorruptFileException.class, ForeignFileException.class);
    private static final String PICKLE = "/data.pkl";

    @TempDir(factory = MemoryFolder.class)
    Path folder;

    /** Reads all of a model, as import does. */
    private static void importModel(Path file) throws IOException {
        ImportedModel model = ImportedModel.read(file);
        Map<String, Integer> sizes = model.sizes();
        ModelConfig config;
        ImportedVocabulary vocabulary;
        try {
            config = new ModelConfig(
                    model.name(),
                    model.vocabSize(),
                    sizes.getOrDefault("context_length", 8),
                    sizes.getOrDefault("embedding_dim", 16),
                    sizes.getOrDefault("head_size", 16),
                    sizes.getOrDefault("num_heads", 1),
                    sizes.getOrDefault("num_layers", 1),
                    0,
                    false,
                    Init.PYTORCH,
                    Quantization.NONE,
                    false);
            vocabulary = ImportedVocabulary.read(FILES.resolve("meta.pkl"), model.vocabSize());
        } catch (IllegalArgumentException e) { // sizes beyond any model's, which import refuses as bad settings
            return;
        }
        model.weights(config, vocabulary);
    }

    @Test
    void torchArchive() throws Exception {
        new Mutants(
                        "pt",
                        Mutants.contents(FILES.resolve("BigramLM.pt"), FILES.resolve("SingleHeadAttentionLM.pt")),
                        CheckpointFuzzTest::importModel)
                .survive(folder.resolve("x.pt"), FOREIGN);
    }

    @Test
    void compressedTorchArchive() throws Exception {
        new Mutants("compressed pt", Mutants.contents(FILES.resolve("compressed.pt")), CheckpointFuzzTest::importModel)
                .survive(folder.resolve("x.pt"), FOREIGN);
    }

    /** A damaged pickle in a sound archive. */
    @Test
    void torchPickle() throws Exception {
        Map<String, byte[]> archive = entries(FILES.resolve("SingleHeadAttentionLM.pt"));
        String name = archive.keySet().stream()
                .filter(entry -> entry.endsWith(PICKLE))
                .findFirst()
                .orElseThrow();
        new Mutants("data.pkl", List.of(archive.get(name)), CheckpointFuzzTest::importModel)
                .in(pickle -> {
                    Map<String, byte[]> changed = new LinkedHashMap<>(archive);
                    changed.put(name, pickle);
                    return archive(changed);
                })
                .survive(folder.resolve("x.pt"), FOREIGN);
    }

    private static Map<String, byte[]> entries(Path archive) throws IOException {
        Map<String, byte[]> entries = new LinkedHashMap<>();
        try (SafeZip zip = new SafeZip(archive, SafeZip.Limits.weights(Files.size(archive)))) {
            for (ZipEntry entry : zip.entries()) {
                entries.put(entry.getName(), zip.read(entry));
            }
        }
        return entries;
    }

    private static byte[] archive(Map<String, byte[]> entries) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
            zip.setLevel(1);
            for (Map.Entry<String, byte[]> entry : entries.entrySet()) {
                zip.putNextEntry(new ZipEntry(entry.getKey()));
                zip.write(entry.getValue());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    @Test
    void legacyTorchFile() throws Exception {
        new Mutants("legacy pt", Mutants.contents(FILES.resolve("legacy.pt")), CheckpointFuzzTest::importModel)
                .survive(folder.resolve("x.pt"), FOREIGN);
    }

    @Test
    void safetensors() throws Exception {
        List<byte[]> files = Mutants.contents(FILES.resolve("f16.safetensors"), RUN.resolve("model.safetensors"));
        new Mutants("safetensors", files, file -> Safetensors.read(file).tensors())
                .survive(folder.resolve("x.safetensors"), List.of(CorruptFileException.class));
    }

    @Test
    void importedSafetensors() throws Exception {
        new Mutants(
                        "imported safetensors",
                        Mutants.contents(FILES.resolve("bf16.safetensors")),
                        CheckpointFuzzTest::importModel)
                .survive(folder.resolve("x.safetensors"), FOREIGN);
    }

    @Test
    void meta() throws Exception {
        new Mutants("meta.pkl", Mutants.contents(FILES.resolve("meta.pkl")), file -> ImportedVocabulary.read(file, 17))
                .survive(folder.resolve("meta.pkl"), List.of(IOException.class)); // it may look like a text
    }

    @Test
    void state() throws Exception {
        survives(RunFolder.STATE, run -> run.state());
    }

    @Test
    void config() throws Exception {
        survives(RunFolder.CONFIG, run -> run.loadWeights());
    }

    private interface Use {
        void of(RunFolder run) throws IOException;
    }

    /** A run one of whose files is damaged. */
    private void survives(String name, Use use) throws Exception {
        for (String file : List.of(RunFolder.CONFIG, RunFolder.VOCAB, RunFolder.STATE, RunFolder.MODEL)) {
            Files.copy(RUN.resolve(file), folder.resolve(file));
        }
        new Mutants(name, Mutants.contents(RUN.resolve(name)), file -> use.of(RunFolder.open(folder)))
                .survive(folder.resolve(name), List.of(IOException.class));
    }
}
