package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import org.junit.jupiter.api.Test;

class BenchCommandTest {
    @Test
    void printsOneJsonArray() throws IOException {
        Cli.Result result = Cli.run("bench", "BigramLM", "--seconds", "0.02", "--json");

        assertThat(result.code()).as(result.err()).isZero();
        JsonNode rows = new ObjectMapper().readTree(result.out());
        assertThat(rows).extracting(row -> row.get("suite").asText()).containsExactly("train", "generate");
        for (JsonNode row : rows) {
            assertThat(row.get("config").asText()).isEqualTo("BigramLM");
            assertThat(row.get("runs").asInt()).isPositive();
            assertThat(row.get("ms_median").asDouble())
                    .isBetween(row.get("ms_p10").asDouble(), row.get("ms_p90").asDouble());
        }
    }

    @Test
    void printsATableOfOneSuite() {
        Cli.Result result = Cli.run("bench", "BigramLM", "BlocksLM", "--suite", "generate", "--seconds", "0.02");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .contains("generate BigramLM", "generate BlocksLM")
                .doesNotContain("train ");
    }

    @Test
    void errorsAreOneSentence() {
        assertFails(Cli.run("bench", "GPT"), 2, "no model 'GPT'");
        assertFails(Cli.run("bench", "--seconds", "0"), 2, "0.0 seconds are too short");
        assertFails(Cli.run("bench", "--seconds", "NaN"), 2, "NaN seconds are too short");
        assertFails(Cli.run("bench", "--suite", "nope"), 2, "'nope'");
        assertFails(Cli.run("bench", "--device", "gpu"), 2, "no device 'gpu'");
    }
}
