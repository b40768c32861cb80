package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ScoreCommandTest {
    @TempDir
    Path temp;

    Path run;

    @BeforeEach
    void prepare() throws IOException {
        run = TinyRuns.bigram(TinyRuns.corpus(temp.resolve("corpus")), temp.resolve("run"));
    }

    @Test
    void printsOneJsonObject() throws IOException {
        Cli.Result result = score("--string", "It rained on the roof", "--json");

        assertThat(result.code()).as(result.err()).isZero();
        JsonNode json = new ObjectMapper().readTree(result.out());
        assertThat(json.fieldNames()).toIterable().containsExactly("nll", "perplexity", "chars");
        assertThat(json.get("chars").asInt()).isEqualTo(20);
        assertThat(json.get("perplexity").asDouble())
                .isCloseTo(Math.exp(json.get("nll").asDouble()), within(1e-9));
        assertThat(result.out().lines()).hasSize(1);
    }

    /** JSON has no infinity. */
    @Test
    void aPerplexityBeyondAllNumbersIsNullWithTheReason() throws IOException {
        certainOfLineFeeds(2000, 0);
        JsonNode json =
                new ObjectMapper().readTree(score("--string", "It", "--json").out());
        assertThat(json.get("nll").asDouble()).isEqualTo(2000);
        assertThat(json.get("perplexity").isNull()).isTrue();
        assertThat(json.get("reason").asText()).contains("beyond the numbers of 64 bits");
    }

    @Test
    void aLossThatIsNoNumberIsAFailure() throws IOException {
        certainOfLineFeeds(3e38, -3e38);
        assertFails(score("--string", "It", "--json"), 1, "loss on this text is no finite number");
    }

    /** Sets the bigrams' table: the logits of a line feed, and of all other characters. */
    private void certainOfLineFeeds(double lineFeed, double others) throws IOException {
        int size = RunFolder.open(run).tokenizer().size();
        TinyRuns.overwriteWeights(run, i -> i % size == 0 ? lineFeed : others);
    }

    @Test
    void aFileScoresLikeItsText() throws IOException {
        Path file = Files.writeString(temp.resolve("a.txt"), "It rained");

        Cli.Result result = score("--text", file.toString());

        assertThat(result.out()).matches("\\d\\.\\d{4} nats per character, perplexity [\\d.]+, over 8 characters\n");
        assertThat(score("--string", "It rained").out()).isEqualTo(result.out());
    }

    @Test
    void errorsAreOneSentence() throws IOException {
        Path empty = Files.writeString(temp.resolve("empty.txt"), "");
        Path binary = Files.write(temp.resolve("binary.txt"), new byte[] {1, 0, -1});

        assertFails(score("--string", ""), 2, "A text of 0 characters cannot be scored");
        assertFails(score("--string", "I"), 2, "A text of 1 characters cannot be scored");
        assertFails(score("--string", "€€"), 2, "Not in the vocabulary: '€';");
        assertFails(score("--text", empty.toString()), 2, "A text of 0 characters cannot be scored");
        assertFails(score("--text", binary.toString()), 1, binary + " is not UTF-8 text");
        assertFails(score("--text", temp + "/none"), 1, "none does not exist");
        assertFails(score("--text", temp.toString()), 1, temp + " is a folder");
        assertFails(score(), 2, "--string=TEXT");
        assertFails(score("--string", "It", "--text", "x"), 2, "mutually exclusive");
    }

    private Cli.Result score(String... options) {
        String[] args = new String[3 + options.length];
        System.arraycopy(new String[] {"score", "--run", run.toString()}, 0, args, 0, 3);
        System.arraycopy(options, 0, args, 3, options.length);
        return Cli.run(args);
    }

    @Test
    void errorsDoNotControlTheTerminal() {
        String run = "\u001b]0;title\u0007\u202e";
        for (String[] arguments : new String[][] {{"score", "--string", "a", "--run", run}, {"score", "--" + run}}) {
            assertThat(Cli.run(arguments).err())
                    .contains("\\u001b]0;title\\u0007\\u202e")
                    .doesNotContain("\u001b", "\u202e");
        }
    }
}
