package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.TextSource;
import io.github.drakegpt.model.Scorer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code score}: how well a model predicts a text. */
@Command(
        name = "score",
        mixinStandardHelpOptions = true,
        description = {
            "Prints the mean negative log-likelihood of a text in nats per character, and the perplexity.",
            "The text is cut into windows as long as the model's context, which do not overlap; each predicts the"
                    + " character after each of its own."
        })
final class ScoreCommand implements Callable<Integer> {
    @Mixin
    private RunOptions runs;

    @ArgGroup(multiplicity = "1")
    private Input input;

    private static final class Input {
        @Option(names = "--text", paramLabel = "FILE", description = "File to score, UTF-8.")
        private Path file;

        @Option(names = "--string", paramLabel = "TEXT", description = "Text to score.")
        private String string;
    }

    @Option(names = "--json", description = "Print one JSON object.")
    private boolean json;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        RunFolder folder = runs.find();
        String text = input.file == null
                ? TextSource.withLineFeeds(input.string)
                : TextSource.read(input.file, TextSource.LYRIC_COLUMN);
        int[] tokens = folder.tokenizer().encode(text);
        Scorer.Score score;
        try (Backend backend = device.open();
                Scorer scorer = new Scorer(backend, folder.loadWeights())) {
            score = scorer.score(tokens);
        }
        if (json) {
            ObjectNode json = JsonNodeFactory.instance.objectNode().put("nll", score.nll());
            if (Double.isFinite(score.perplexity())) {
                json.put("perplexity", score.perplexity());
            } else {
                json.putNull("perplexity").put("reason", "exp(nll) is beyond the numbers of 64 bits");
            }
            System.out.println(json.put("chars", score.predicted()));
        } else {
            System.out.printf(
                    Locale.ROOT,
                    "%.4f nats per character, perplexity %.3f, over %,d characters%n",
                    score.nll(),
                    score.perplexity(),
                    score.predicted());
        }
        return 0;
    }
}
