package io.github.drakegpt.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PackedWeightsFileTest {
    private static final CharTokenizer TOKENIZER = CharTokenizer.of("abcd ");
    private static final ModelConfig CONFIG =
            new ModelConfig(Models.TRANSFORMER, 5, 3, 8, 8, 2, 1, 0, true, Init.PYTORCH, Quantization.B158, true);
    private static final String MATRIX = "blocks.0.ffwd.net.0.weight"; // (32, 8): two tiles of one unit
    private static final String SCALE = MATRIX + "_scale";
    private static final Map<String, String> METADATA =
            Map.of("format", "drakegpt-packed", "layout", "tiles-16x128-2bit");

    @TempDir
    Path temp;

    private Weights weights;
    private RunFolder folder;

    @BeforeEach
    void write() throws IOException {
        weights = Weights.of(CONFIG, LanguageModel.parametersOf(CONFIG).initialValues(3));
        ObjectNode config = new ObjectMapper().createObjectNode();
        config.set("model", new ObjectMapper().valueToTree(CONFIG));
        folder = RunFolder.createPacked(temp.resolve("packed"), config, TOKENIZER, weights);
    }

    @Test
    void whatIsWrittenIsReadAgain() throws IOException {
        Weights read = RunFolder.open(folder.path()).loadWeights();
        assertThat(read.config()).isEqualTo(CONFIG);
        assertThat(read.flat()).containsExactly(weights.flat());
        assertThat(read.packed().keySet())
                .containsExactly(
                        "blocks.0.sa_head.qkv.weight",
                        "blocks.0.sa_head.proj.weight",
                        MATRIX,
                        "blocks.0.ffwd.net.2.weight");
        read.packed().forEach((name, matrix) -> {
            PackedMatrix written = weights.packed().get(name);
            assertThat(matrix.codes()).isEqualTo(written.codes());
            assertThat(matrix.scales()).isEqualTo(written.scales());
        });
        assertThat(read.packed().get("blocks.0.sa_head.qkv.weight").scales()).hasSize(6);
        assertThat(folder.weightsFileBytes()).isGreaterThan(weights.bytes());
    }

    @Test
    void aFolderWhoseWeightsCouldNotBeWrittenIsNoRun() throws IOException {
        Path path = temp.resolve("blocked");
        Files.createDirectories(path.resolve(RunFolder.MODEL).resolve("in the way"));
        assertThatThrownBy(() -> RunFolder.createPacked(path, folder.config(), TOKENIZER, weights))
                .isInstanceOf(IOException.class);
        assertThat(path.resolve(RunFolder.CONFIG)).doesNotExist();
    }

    @Test
    void anotherLayoutIsRefused() throws IOException {
        write(Map.of("format", "drakegpt-packed", "layout", "rows-2bit"), source -> source);
        assertDamaged("its weights have the layout rows-2bit where tiles-16x128-2bit is needed");
        write(Map.of("format", "drakegpt-packed"), source -> source);
        assertDamaged("the layout null where");
    }

    @Test
    void aWrongNumberOfBytesIsRefused() throws IOException {
        write(METADATA, source -> source.name().equals(MATRIX) ? bytes(new byte[512], 1, 1, 512) : source);
        assertDamaged("tensor " + MATRIX + " is U8 (1, 1, 512) where U8 (2, 1, 512) is needed");
        byte[] whole = Files.readAllBytes(folder.path().resolve(RunFolder.MODEL));
        Files.write(folder.path().resolve(RunFolder.MODEL), java.util.Arrays.copyOf(whole, whole.length - 1));
        assertDamaged("bytes of data");
    }

    @Test
    void theCodeThreeIsRefused() throws IOException {
        byte[] codes = weights.packed().get(MATRIX).codes().clone();
        codes[700] |= 3;
        write(METADATA, source -> source.name().equals(MATRIX) ? bytes(codes, 2, 1, 512) : source);
        assertDamaged("tensor " + MATRIX + ": it has the code 3, which stands for no weight");
    }

    @Test
    void impossibleScalesAreRefused() throws IOException {
        for (float scale : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
            write(
                    METADATA,
                    source -> source.name().equals(SCALE)
                            ? new Safetensors.Source(SCALE, Shape.of(1), new float[] {scale}, 0)
                            : source);
            assertDamaged("tensor " + MATRIX + ": its scale " + scale + " is not a finite number above 0");
        }
    }

    @Test
    void missingTensorsAreRefused() throws IOException {
        for (String name : List.of(MATRIX, SCALE, "lm_head.weight")) {
            write(METADATA, source -> source.name().equals(name) ? null : source);
            assertDamaged("it has no tensor " + name);
        }
    }

    @Test
    void packedWeightsInARunThatIsNotQuantizedAreRefused() throws IOException {
        ObjectNode config = folder.config().deepCopy();
        config.withObject("/model").put("quant", "none");
        Files.writeString(folder.path().resolve(RunFolder.CONFIG), config.toString());
        assertDamaged("it holds packed weights where config.json names no quantization");
    }

    /** Writes the file again, each tensor as it was or as the change has it. */
    private void write(Map<String, String> metadata, UnaryOperator<Safetensors.Source> change) throws IOException {
        List<Safetensors.Source> sources = new ArrayList<>();
        StateDict.addEntries(sources, LanguageModel.inferenceParametersOf(CONFIG), "", weights.flat());
        weights.packed().forEach((name, matrix) -> {
            sources.add(
                    new Safetensors.Source(name, Shape.of(PackedMatrix.tiles(matrix.out()), 1, 512), matrix.codes()));
            sources.add(new Safetensors.Source(name + "_scale", Shape.of(matrix.scales().length), matrix.scales(), 0));
        });
        List<Safetensors.Source> changed =
                sources.stream().map(change).filter(java.util.Objects::nonNull).toList();
        try (OutputStream out = Files.newOutputStream(folder.path().resolve(RunFolder.MODEL))) {
            Safetensors.write(out, metadata, changed);
        }
    }

    private static Safetensors.Source bytes(byte[] codes, int... shape) {
        return new Safetensors.Source(MATRIX, Shape.of(shape), codes);
    }

    private void assertDamaged(String what) {
        assertThatThrownBy(() -> RunFolder.open(folder.path()).loadWeights())
                .isInstanceOf(CorruptFileException.class)
                .hasMessageContaining(RunFolder.MODEL)
                .hasMessageContaining(what);
    }
}
