package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.model.Stage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code list}: the runs that there are. */
@Command(
        name = "list",
        mixinStandardHelpOptions = true,
        description = {
            "Lists runs, the newest first, then the pretrained ones: model, corpus, steps, val loss and the time of the last"
                    + " checkpoint.",
            "A loss with ~ is an estimate: of a run that has not come to its end. * marks what --model NAME takes."
        })
final class ListCommand implements Callable<Integer> {
    private static final DateTimeFormatter MINUTE = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm");

    @Parameters(
            paramLabel = "DIR",
            arity = "0..*",
            description = "Folders of runs, or folders that hold some (default: runs, and the pretrained ones).")
    private List<Path> folders = new ArrayList<>();

    @Option(names = "--json", description = "Print one JSON array.")
    private boolean json;

    /** A run with the time of its newest checkpoint. */
    private record Row(RunSummary run, Instant modified) {
        static Row of(RunSummary run) throws IOException {
            Path folder = run.folder().path();
            Path newest = folder.resolve(run.folder().hasCheckpoint() ? RunFolder.STATE : RunFolder.CONFIG);
            return new Row(run, Files.getLastModifiedTime(newest).toInstant().truncatedTo(ChronoUnit.SECONDS));
        }
    }

    @Override
    public Integer call() throws IOException {
        List<Row> rows = new ArrayList<>();
        for (RunSummary run : folders.isEmpty() ? Runs.own() : Runs.in(folders)) {
            rows.add(Row.of(run));
        }
        rows.sort(Comparator.comparing(Row::modified).reversed());
        if (folders.isEmpty()) {
            for (RunSummary run : Runs.allPretrained()) {
                rows.add(Row.of(run));
            }
        }
        ModelRuns models = new ModelRuns(Runs.own());
        Set<Path> taken = new HashSet<>();
        for (Stage stage :
                rows.stream().map(row -> row.run().stage()).distinct().toList()) {
            models.of(stage, RunFolder.WeightsOf.LAST)
                    .ifPresent(run -> taken.add(run.path().toAbsolutePath().normalize()));
        }
        if (json) {
            ArrayNode array = JsonNodeFactory.instance.arrayNode();
            rows.forEach(row -> array.add(json(row, isTaken(row, taken))));
            System.out.println(
                    new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(array));
            return 0;
        }
        if (rows.isEmpty()) {
            System.out.println(
                    "There are no runs under " + Runs.FOLDER + " yet; `" + Main.program() + " train` makes one.");
            return 0;
        }
        Table table = Table.ofText("  run", "model", "corpus", "steps", "val loss", "saved");
        for (Row row : rows) {
            RunSummary run = row.run();
            table.add(
                    (isTaken(row, taken) ? "* " : "  ") + run.folder().path(),
                    run.stage().name(),
                    run.corpus(),
                    run.stepsText(),
                    run.valLossText(),
                    LocalDateTime.ofInstant(row.modified(), ZoneId.systemDefault())
                            .format(MINUTE));
        }
        System.out.print(table);
        return 0;
    }

    private static boolean isTaken(Row row, Set<Path> taken) {
        return taken.contains(row.run().folder().path().toAbsolutePath().normalize());
    }

    private static ObjectNode json(Row row, boolean isTaken) {
        RunSummary run = row.run();
        ObjectNode node = JsonNodeFactory.instance
                .objectNode()
                .put("run", run.folder().path().toString())
                .put("model", run.stage().name())
                .put("corpus", run.corpus())
                .put("corpus_sha256", run.corpusSum())
                .put("iters", run.iters())
                .put("finished", run.isFinished())
                .put("taken_by_model", isTaken)
                .put("saved", row.modified().toString());
        run.state().ifPresent(state -> node.setAll(json(state)));
        return node;
    }

    /** Losses that are no finite number, which JSON does not have, are left out. */
    private static ObjectNode json(TrainingState state) {
        ObjectNode node = JsonNodeFactory.instance.objectNode().put("step", state.step());
        Map<String, Double> losses = new LinkedHashMap<>();
        losses.put("final_val_loss", state.isFinished() ? state.finalValLoss() : Double.NaN);
        losses.put("val_loss", state.valLoss());
        losses.put("best_val_loss", state.bestValLoss());
        losses.forEach((name, loss) -> {
            if (Double.isFinite(loss)) {
                node.put(name, loss);
            }
        });
        return node.put("best_step", state.bestStep());
    }
}
