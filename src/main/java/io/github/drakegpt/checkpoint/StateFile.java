package io.github.drakegpt.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.data.Sha256;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * The file {@code state.json}: the state of a training, and the SHA-256 sums of the files of its checkpoint.
 *
 * @param sums by the file's name; of {@code state.json} that of its other values; empty in files of older versions
 */
record StateFile(TrainingState state, Map<String, String> sums) {
    private static final String SUMS = "sha256";
    private static final String BEST_VAL_LOSS = "best_val_loss";
    private static final String FINAL_VAL_LOSS = "final_val_loss";

    /** Null in the file before the first evaluation, since JSON has no NaN. */
    private static final List<String> LOSSES = List.of("train_loss", "val_loss", BEST_VAL_LOSS);

    /** @throws CorruptFileException if it is none */
    static StateFile read(Path file) throws IOException {
        try {
            JsonNode json = RunFolder.JSON.readTree(Files.readAllBytes(file));
            if (!(json instanceof ObjectNode object)) {
                throw new CorruptFileException(file, "it is no JSON object", null);
            }
            JsonNode sums = object.remove(SUMS);
            for (String loss : LOSSES) {
                if (object.path(loss).isNull()) {
                    object.put(loss, loss.equals(BEST_VAL_LOSS) ? Double.POSITIVE_INFINITY : Double.NaN);
                }
            }
            object.putIfAbsent(FINAL_VAL_LOSS, NullNode.instance); // the one value that a state may lack
            TrainingState state = RunFolder.JSON
                    .readerFor(TrainingState.class)
                    .with(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
                    .with(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
                    .readValue(object);
            Map<String, String> read = sums == null || sums.isNull()
                    ? Map.of()
                    : RunFolder.JSON
                            .readerFor(new TypeReference<Map<String, String>>() {})
                            .readValue(sums);
            return new StateFile(state, read);
        } catch (JsonProcessingException e) {
            throw new CorruptFileException(file, RunFolder.reason(e), e);
        }
    }

    /** What is written; its own sum is added. */
    byte[] json() throws IOException {
        ObjectNode json = RunFolder.JSON.valueToTree(state);
        for (String loss : LOSSES) {
            if (!Double.isFinite(json.path(loss).asDouble())) {
                json.putNull(loss);
            }
        }
        ObjectNode all = json.putObject(SUMS);
        sums.forEach(all::put);
        all.put(RunFolder.STATE, ownSum());
        return RunFolder.JSON.writeValueAsBytes(json);
    }

    /** Sum of the state. */
    String ownSum() throws IOException {
        byte[] values = RunFolder.JSON.writeValueAsBytes(state);
        return Sha256.of(out -> out.write(values));
    }
}
