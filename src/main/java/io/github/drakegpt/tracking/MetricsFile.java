package io.github.drakegpt.tracking;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.train.TrainingListener;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code metrics.jsonl}: one JSON object a line and evaluation, {@code {"step":500,"train_loss":..,"val_loss":..,
 * "lr":..,"grad_norm":..,"tokens_per_s":..,"elapsed_s":..}}. Losses are in nats per character.
 */
public final class MetricsFile implements TrainingListener {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path file;

    public MetricsFile(Path file) {
        this.file = file;
    }

    /** Drops the lines of steps that will be done again, and one that was not written to its end. */
    @Override
    public void onStart(Start start) throws IOException {
        if (!Files.exists(file)) {
            return;
        }
        List<String> kept = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            if (stepOf(line) < start.firstStep()) {
                kept.add(line + '\n');
            }
        }
        AtomicFiles.write(file, String.join("", kept).getBytes(StandardCharsets.UTF_8));
    }

    private static int stepOf(String line) {
        try {
            JsonNode step = JSON.readTree(line).path("step");
            return step.isInt() ? step.asInt() : Integer.MAX_VALUE;
        } catch (JsonProcessingException e) {
            return Integer.MAX_VALUE; // torn by the end of the process: counts as not written
        }
    }

    /** Appends a line and syncs it, so that it is there before the checkpoint of the same step. */
    @Override
    public void onEvaluation(Evaluation evaluation) throws IOException {
        ObjectNode line = JSON.createObjectNode()
                .put("step", evaluation.step())
                .put("train_loss", evaluation.trainLoss())
                .put("val_loss", evaluation.valLoss())
                .put("lr", evaluation.learningRate())
                .put("grad_norm", evaluation.gradNorm())
                .put("tokens_per_s", Math.round(evaluation.tokensPerSecond()))
                .put("elapsed_s", Math.round(evaluation.elapsedSeconds() * 1000) / 1000.0);
        ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
            channel.force(true);
        } catch (IOException e) {
            throw AtomicFiles.failed(file, e);
        }
    }
}
