package io.github.drakegpt.cli;

import io.github.drakegpt.report.RunReport;
import io.github.drakegpt.report.SeedGroup;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;

/** Val losses of finished runs that differ in the seed alone, ascending. */
record Spread(double[] losses) {
    static Spread of(SeedGroup group) {
        return new Spread(group.runs().stream()
                .filter(RunReport::isFinished)
                .map(RunReport::valLoss)
                .flatMapToDouble(OptionalDouble::stream)
                .sorted()
                .toArray());
    }

    double mean() {
        double sum = 0;
        for (double loss : losses) {
            sum += loss;
        }
        return sum / losses.length;
    }

    /** The sample standard deviation; NaN of fewer than two runs. */
    double deviation() {
        double mean = mean();
        double squares = 0;
        for (double loss : losses) {
            squares += (loss - mean) * (loss - mean);
        }
        return losses.length < 2 ? Double.NaN : Math.sqrt(squares / (losses.length - 1));
    }

    /** A table of groups; one without a finished run has no losses in it. */
    static Table table(List<SeedGroup> groups) {
        Table table = new Table("settings", "runs", "val loss", "deviation", "lowest", "highest");
        for (SeedGroup group : groups) {
            Spread spread = of(group);
            int runs = spread.losses.length;
            table.add(
                    group.name(),
                    Integer.toString(runs),
                    text(spread.mean()),
                    text(spread.deviation()),
                    runs == 0 ? "" : text(spread.losses[0]),
                    runs == 0 ? "" : text(spread.losses[runs - 1]));
        }
        return table;
    }

    private static String text(double loss) {
        return Double.isNaN(loss) ? "" : String.format(Locale.ROOT, "%.4f", loss);
    }
}
