package io.github.drakegpt.report;

import io.github.drakegpt.tracking.Metrics;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Objects;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVPrinter;

/**
 * The metrics of runs as one CSV, a row for each line of {@code metrics.jsonl} without its sample. Columns have the keys of
 * that file, but {@code val_loss} is that over the whole validation split where training ended with the step.
 */
public final class MetricsCsv {
    private static final CSVFormat FORMAT = CSVFormat.DEFAULT
            .builder()
            .setHeader(
                    "run",
                    "model",
                    "seed",
                    "step",
                    "loss",
                    "train_loss",
                    "val_loss",
                    "lr",
                    "grad_norm",
                    "tokens_per_s",
                    "peak_memory_bytes",
                    "elapsed_s")
            .get();

    private MetricsCsv() {}

    public static String of(List<RunReport> runs) {
        StringBuilder csv = new StringBuilder();
        try (CSVPrinter printer = new CSVPrinter(csv, FORMAT)) {
            for (RunReport run : runs) {
                for (Metrics line : run.metrics()) {
                    printer.printRecord(
                            harmless(run.name()),
                            run.stage().name(),
                            harmless(run.seed().orElse("")),
                            line.step(),
                            finite(line.loss()),
                            finite(line.trainLoss()),
                            finite(line.shownValLoss()),
                            finite(line.learningRate()),
                            finite(line.gradNorm()),
                            line.tokensPerSecond(),
                            Objects.requireNonNullElse(line.peakMemoryBytes(), ""),
                            finite(line.elapsedSeconds()));
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException("A StringBuilder does not fail", e);
        }
        return csv.toString();
    }

    /** A text that a spreadsheet would take for a formula, quoted as spreadsheets do. */
    private static String harmless(String text) {
        return text.matches("(?s)[=+\\-@\t\r].*") ? "'" + text : text;
    }

    /** A cell of a number; empty if there is none. */
    private static Object finite(Double value) {
        return value == null || !Double.isFinite(value) ? "" : value;
    }
}
