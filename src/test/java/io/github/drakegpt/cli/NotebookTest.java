package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The notebook that reads run folders. */
class NotebookTest {
    private static final Path NOTEBOOK = Path.of("docs/runs.ipynb");

    /** Runs the cells of code in their order, and prints what they have computed. */
    private static final String RUN = """
            import json, sys
            with open(sys.argv[1], encoding="utf-8") as file:
                cells = json.load(file)["cells"]
            names = {}
            for cell in cells:
                if cell["cell_type"] == "code":
                    exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
            print(json.dumps({
                "losses": names["losses"].val_loss.to_dict(),
                "parts": names["parts"].change.dropna().to_dict(),
                "lines": [len(axes.lines) for axes in names["plt"].figure(1).axes],
            }))
            """;

    @TempDir
    Path temp;

    @Test
    void itHasNoOutputsThatWouldGrowOld() throws IOException {
        JsonNode notebook = new ObjectMapper().readTree(NOTEBOOK.toFile());

        assertThat(notebook.path("nbformat").asInt()).isEqualTo(4);
        assertThat(notebook.path("cells")).isNotEmpty().allSatisfy(cell -> {
            assertThat(cell.path("outputs")).isEmpty();
            assertThat(cell.path("id").asText()).isNotEmpty();
        });
    }

    @Test
    void itsCellsReadRunFolders() throws IOException, InterruptedException {
        assumeTrue(hasPandas(), "python3 with pandas and matplotlib");
        Path corpus = TinyRuns.corpus(temp.resolve("corpus"));
        Path runs = temp.resolve("runs");
        Path bigram = TinyRuns.bigram(corpus, runs.resolve("a/bigram"));
        Path single = TinyRuns.train(corpus, runs.resolve("single"), "--model", "SingleHeadAttentionLM");
        Path quantized = TinyRuns.train(corpus, runs.resolve("quantized"), "--quant", "b1.58");
        Files.writeString(single.resolve(RunFolder.METRICS), "{\"step\":30,\"lo", StandardOpenOption.APPEND);

        assertThat(python("-c", RUN, NOTEBOOK.toString()))
                .as(() -> content("err"))
                .isZero();
        String out = content("out");

        JsonNode found = new ObjectMapper().readTree(out.substring(out.lastIndexOf("{\"losses\"")));
        double[] losses = {finalLoss(bigram), finalLoss(single), finalLoss(quantized)};
        assertThat(found.at("/losses/a~1bigram").asDouble()).isEqualTo(losses[0]);
        assertThat(found.at("/losses/single").asDouble()).isEqualTo(losses[1]);
        assertThat(found.at("/losses/quantized").asDouble()).isEqualTo(losses[2]);
        assertThat(found.path("parts")).hasSize(1);
        assertThat(found.at("/parts/SingleHeadAttentionLM").asDouble()).isCloseTo(losses[1] - losses[0], within(1e-12));
        assertThat(found.path("lines")).hasToString("[6]"); // two for each run
    }

    private static double finalLoss(Path run) throws IOException {
        return RunFolder.open(run).state().finalValLoss();
    }

    private boolean hasPandas() throws InterruptedException {
        try {
            if (python("-c", "import pandas, matplotlib") == 0) {
                return true;
            }
        } catch (IOException e) {
            // there is no python3
        }
        System.out.println("The test of docs/runs.ipynb is skipped: there is no python3 with pandas and matplotlib"
                + " (pip install pandas matplotlib)");
        return false;
    }

    private int python(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("python3"));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command)
                .redirectOutput(temp.resolve("out").toFile())
                .redirectError(temp.resolve("err").toFile());
        builder.environment()
                .putAll(Map.of(
                        "MPLBACKEND",
                        "Agg",
                        "DRAKEGPT_RUNS",
                        temp.resolve("runs").toString()));
        Process process = builder.start();
        assertThat(process.waitFor(2, TimeUnit.MINUTES)).isTrue();
        return process.exitValue();
    }

    private String content(String file) {
        try {
            return Files.readString(temp.resolve(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
