package io.github.drakegpt.data;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Origin of a corpus: {@code corpus.json}, the file by which {@code setup} and {@code clean} recognize the folders that
 * {@code setup} made.
 *
 * @param source the file, address or artist that the text came from
 * @param column the CSV column, null for plain text
 * @param characters how many characters the text has
 * @param vocabularySize how many different ones
 * @param date when it was made, ISO 8601
 */
@JsonPropertyOrder({"made_by", "source", "column", "characters", "vocabulary_size", "date"})
public record CorpusInfo(
        @JsonProperty("source") String source,
        @JsonProperty("column") String column,
        @JsonProperty("characters") long characters,
        @JsonProperty("vocabulary_size") int vocabularySize,
        @JsonProperty("date") String date) {
    static final String FILE = "corpus.json";
    private static final String MADE_BY = "drakegpt setup";
    private static final ObjectMapper JSON = new ObjectMapper();

    @JsonProperty(value = "made_by", access = JsonProperty.Access.READ_ONLY)
    String madeBy() {
        return MADE_BY;
    }

    /** The marker of a folder; empty if it has none, or one that setup did not write. */
    static Optional<CorpusInfo> read(Path folder) throws IOException {
        Path file = folder.resolve(FILE);
        if (!Files.isRegularFile(file)) {
            return Optional.empty();
        }
        try {
            var json = JSON.readTree(Files.readAllBytes(file));
            if (!MADE_BY.equals(json.path("made_by").asText())) {
                return Optional.empty();
            }
            return Optional.of(JSON.treeToValue(json, CorpusInfo.class));
        } catch (JsonProcessingException e) {
            // Setup writes it whole, so this is another program's file.
            return Optional.empty();
        }
    }

    byte[] json() throws IOException {
        return (JSON.writerWithDefaultPrettyPrinter().writeValueAsString(this) + "\n").getBytes(StandardCharsets.UTF_8);
    }
}
