package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.ElementType;
import io.github.drakegpt.checkpoint.OnnxModel;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.StateDict;
import io.github.drakegpt.checkpoint.TorchWriter;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Parameters;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code export}: a run's weights for other programs. */
@Command(
        name = "export",
        mixinStandardHelpOptions = true,
        description = {
            "Writes a run's model into one file for other programs.",
            "pytorch: what torch.load(FILE, weights_only=True) reads as DrakeGPT's state_dict. safetensors: the same names in"
                    + " that format, in 32 or 16 bits. onnx: the whole model, from `tokens` (batch, length) to `logits`"
                    + " (batch, length, vocabulary), for ONNX Runtime and others; its metadata has the vocabulary."
        },
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} --run runs/journey/TransformerLM --format pytorch",
            "  ${COMMAND-FULL-NAME} --model TransformerLM --format safetensors --dtype bf16 --out small.safetensors",
            "  ${COMMAND-FULL-NAME} --run runs/mine --checkpoint best --format onnx"
        })
final class ExportCommand implements Callable<Integer> {
    @Mixin
    private RunOptions runs;

    private enum Format {
        PYTORCH(".pt"),
        SAFETENSORS(".safetensors"),
        ONNX(".onnx");

        private final String ending;

        Format(String ending) {
            this.ending = ending;
        }
    }

    private enum Dtype {
        FP32(ElementType.F32),
        BF16(ElementType.BF16),
        FP16(ElementType.F16);

        private final ElementType type;

        Dtype(ElementType type) {
            this.type = type;
        }
    }

    @Option(
            names = "--format",
            required = true,
            paramLabel = "pytorch|safetensors|onnx",
            description = "What kind of file.")
    private Format format;

    @Option(
            names = "--dtype",
            paramLabel = "fp32|bf16|fp16",
            defaultValue = "fp32",
            description = "What safetensors hold each weight in (default: ${DEFAULT-VALUE}).")
    private Dtype dtype;

    @Option(
            names = "--out",
            paramLabel = "FILE",
            description = "The file, which must not be there yet (default: the run's name with .pt, .safetensors or"
                    + " .onnx, in the working directory).")
    private Path out;

    @Override
    public Integer call() throws IOException {
        if (dtype != Dtype.FP32 && format != Format.SAFETENSORS) {
            throw new IllegalArgumentException(
                    "Only safetensors are written in 16 bits; leave out --dtype, or choose" + " --format safetensors.");
        }
        RunFolder run = runs.find();
        Path file = out != null
                ? out
                : Path.of(run.path().toAbsolutePath().normalize().getFileName() + format.ending);
        if (Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
            throw new IllegalArgumentException(file + " is there already; give another name with --out.");
        }
        AtomicFiles.write(file, content(run));
        System.out.printf(Locale.ROOT, "%s, %,d bytes%n", file, Files.size(file));
        return 0;
    }

    /** Reads the weights before a file is begun. */
    private AtomicFiles.Content content(RunFolder run) throws IOException {
        if (format == Format.ONNX) {
            Weights weights = run.loadWeights();
            return stream -> OnnxModel.write(stream, weights, run.tokenizer());
        }
        float[] weights = run.loadTrainedWeights();
        Parameters parameters = LanguageModel.parametersOf(run.modelConfig());
        for (float weight : weights) {
            if (!dtype.type.holds(weight)) {
                throw new IOException(
                        run.path() + " has the weight " + weight + ", which is too large for fp16; export it in bf16.");
            }
        }
        return format == Format.PYTORCH
                ? stream -> TorchWriter.write(stream, parameters, weights)
                : stream -> StateDict.write(stream, parameters, weights, Map.of("format", "pt"), dtype.type);
    }
}
