package io.github.drakegpt.tracking;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.train.TrainingListener;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * {@code README.md} of a run folder: what was trained on what, its losses, a text that it wrote, and how to use it. Written
 * each time that training ends. One that somebody else wrote stays as it is.
 */
public final class ModelCard implements MetricsSink {
    /** The first line, by which the file is known as one that may be replaced. */
    private static final String MARK =
            "<!-- Written when training ends; remove this line to keep your own changes. -->\n";

    private final RunFolder run;
    private int iters;

    public ModelCard(RunFolder run) {
        this.run = run;
    }

    @Override
    public void start(TrainingListener.Start start) {
        iters = start.train().iters();
    }

    @Override
    public void add(Metrics metrics) {}

    @Override
    public void end(TrainingResult result) throws IOException {
        Path file = run.path().resolve(RunFolder.README);
        boolean isOurs =
                !Files.exists(file) || new String(Files.readAllBytes(file), StandardCharsets.UTF_8).startsWith(MARK);
        if (isOurs) {
            run.write(RunFolder.README, (MARK + card(result)).getBytes(StandardCharsets.UTF_8));
        }
    }

    private String card(TrainingResult result) throws IOException {
        StringBuilder card = new StringBuilder();
        String name = Stage.of(run.modelConfig()).name();
        card.append("# ")
                .append(name)
                .append("\n\nA small language model that writes text character by character, trained by DrakeGPT.\n");
        card.append("\n| | |\n|---|---|\n");
        JsonNode data = run.config().path("data");
        if (data.has("source")) {
            row(
                    card,
                    "corpus",
                    "%s: %,d characters to train on, %,d to validate on, %,d different ones",
                    Markdown.code(data.path("source").asText()),
                    data.path("train_tokens").asLong(),
                    data.path("val_tokens").asLong(),
                    run.tokenizer().size());
        }
        row(
                card,
                "size",
                "%,d parameters; %,d bytes of weights%s",
                result.parameters(),
                Weights.bytes(run.modelConfig()),
                run.modelConfig().quant() == Quantization.NONE ? "" : ", packed");
        training(card, result);
        losses(card, result.state());
        List<Metrics> metrics = MetricsFile.read(run.path().resolve(RunFolder.METRICS));
        metrics.stream()
                .filter(line -> line.sample() != null)
                .reduce((a, b) -> b)
                .ifPresent(line -> card.append(String.format(
                                Locale.ROOT, "\n## What it writes\nAfter step %,d, from nothing:\n\n", line.step()))
                        .append(Markdown.verbatim(
                                CharTokenizer.printableLines(line.sample().strip())))
                        .append('\n'));
        card.append("\n## Use\nFrom this folder:\n```\n")
                .append("drakegpt generate --run . --length 500\n")
                .append("drakegpt score --run . --text FILE\n")
                .append("drakegpt train --resume .\n")
                .append(
                        "```\n`model.safetensors` has the newest weights under the names of DrakeGPT's `state_dict`, `vocab.json` the")
                .append(" characters by their ids.\n\n## Settings\n| setting | value |\n|---|---|\n");
        RunFolder.settings(run.config())
                .forEach((key, value) ->
                        row(card, Markdown.code(key), "%s", value.isEmpty() ? "" : Markdown.code(value)));
        return card.toString();
    }

    private void training(StringBuilder card, TrainingResult result) {
        String end = switch (result.end()) {
            case COMPLETED -> "";
            case OUT_OF_PATIENCE -> "; stopped early, as the val loss did not fall any more";
            case INTERRUPTED -> "; interrupted";
        };
        row(
                card,
                "training",
                "%,d of %,d steps in %,.1f seconds%s",
                result.state().step(),
                iters,
                result.state().elapsedSeconds(),
                end);
    }

    private static void losses(StringBuilder card, TrainingState state) {
        if (state.isFinished()) {
            row(card, "val loss", "%.4f nats per character, over the whole validation split", state.finalValLoss());
        } else if (state.bestStep() > 0) {
            row(card, "val loss", "%.4f nats per character, an estimate", state.valLoss());
        }
        if (state.bestStep() > 0) {
            row(card, "train loss", "%.4f, an estimate", state.trainLoss());
            row(
                    card,
                    "lowest estimate of the val loss",
                    "%.4f at step %,d: `best.safetensors`",
                    state.bestValLoss(),
                    state.bestStep());
        }
    }

    private static void row(StringBuilder card, String name, String format, Object... values) {
        card.append("| ")
                .append(name)
                .append(" | ")
                .append(String.format(Locale.ROOT, format, values))
                .append(" |\n");
    }
}
