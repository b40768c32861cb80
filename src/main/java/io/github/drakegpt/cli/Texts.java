package io.github.drakegpt.cli;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Sampling;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.Generator;
import java.io.IOException;

/** Text from trained runs. */
final class Texts {
    private static final long SAMPLE_SEED = 42;

    private Texts() {}

    /** What a model that has seen nothing yet is prompted with: a line break, as at the start of a line. */
    static int[] emptyPrompt(CharTokenizer tokenizer) {
        return tokenizer.characters().indexOf('\n') >= 0 ? tokenizer.encode("\n") : new int[] {0};
    }

    /** A sample of plain text from a run. */
    static String sample(Backend backend, RunFolder run, int length) throws IOException {
        StringBuilder text = new StringBuilder();
        try (Generator generator = new Generator(backend, run.loadWeights())) {
            generator.generate(
                    emptyPrompt(run.tokenizer()),
                    length,
                    Sampling.PLAIN,
                    SAMPLE_SEED,
                    0,
                    true,
                    token -> text.append(run.tokenizer().decode(token)));
        }
        return text.toString();
    }
}
