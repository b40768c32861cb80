package io.github.drakegpt.data;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
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
 * @param sha256 SHA-256 sums of its files by their names; empty before they are written, and in files of older versions
 */
@JsonPropertyOrder({"made_by", "source", "column", "characters", "vocabulary_size", "date", "sha256"})
public record CorpusInfo(
        @JsonProperty("source") String source,
        @JsonProperty("column") String column,
        @JsonProperty("characters") long characters,
        @JsonProperty("vocabulary_size") int vocabularySize,
        @JsonProperty("date") String date,

        @JsonProperty("sha256") @JsonInclude(JsonInclude.Include.NON_EMPTY)
        Map<String, String> sha256) {
    static final String FILE = "corpus.json";
    private static final String MADE_BY = "drakegpt setup";
    private static final ObjectMapper JSON = new ObjectMapper();

    public CorpusInfo {
        sha256 = sha256 == null ? Map.of() : sha256;
    }

    /** The origin of a corpus that is not written yet. */
    public CorpusInfo(String source, String column, long characters, int vocabularySize, String date) {
        this(source, column, characters, vocabularySize, date, Map.of());
    }

    CorpusInfo with(Map<String, String> sums) {
        return new CorpusInfo(source, column, characters, vocabularySize, date, sums);
    }

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
