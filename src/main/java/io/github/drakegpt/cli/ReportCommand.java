package io.github.drakegpt.cli;

import io.github.drakegpt.report.ReportPage;
import io.github.drakegpt.report.RunReport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code report}: runs side by side, as a page for a browser. */
@Command(
        name = "report",
        mixinStandardHelpOptions = true,
        description = {
            "Writes one HTML file that shows runs side by side: curves of loss and speed, a table of the models, quantized ones"
                    + " against full precision, samples, settings, the machine. It needs no network and can be sent to others.",
            "Prints the path of the file."
        },
        footer = {
            "",
            "Examples:",
            "  report runs/journey",
            "  report runs/journey/TransformerLM runs/laptop --out comparison.html"
        })
final class ReportCommand implements Callable<Integer> {
    @Parameters(
            paramLabel = "RUN",
            arity = "0..*",
            description = "Folders of runs, or folders that hold some (default: all under runs).")
    private List<Path> folders = new ArrayList<>();

    @Option(
            names = "--out",
            paramLabel = "FILE",
            defaultValue = "report.html",
            description = "Where the page goes (default: ${DEFAULT-VALUE}).")
    private Path out;

    @Override
    public Integer call() throws IOException {
        if (folders.isEmpty() && !Files.isDirectory(Runs.FOLDER)) {
            throw new IOException(
                    "There are no runs under " + Runs.FOLDER + " yet; train one, or give the folder of a run.");
        }
        List<Path> runs = Runs.within(folders.isEmpty() ? List.of(Runs.FOLDER) : folders);
        ReportPage.write(out, RunReport.read(runs));
        System.out.println(out);
        return 0;
    }
}
