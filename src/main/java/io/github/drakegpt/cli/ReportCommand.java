package io.github.drakegpt.cli;

import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.report.CurvesImage;
import io.github.drakegpt.report.CurvesPicture;
import io.github.drakegpt.report.MetricsCsv;
import io.github.drakegpt.report.ReportPage;
import io.github.drakegpt.report.RunReport;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code report}: runs side by side, as a page for a browser. */
@Command(
        name = "report",
        mixinStandardHelpOptions = true,
        description = {
            "Writes one HTML file that shows runs side by side: what each part bought, quantized models against full precision,"
                    + " samples, curves of loss and speed, settings, the machine. It needs no network and can be sent to others.",
            "Prints the path of each file that it wrote."
        },
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} runs/journey",
            "  ${COMMAND-FULL-NAME} runs/journey/TransformerLM runs/laptop --out comparison.html",
            "  ${COMMAND-FULL-NAME} runs/journey --svg curves.svg --csv metrics.csv"
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

    @Option(
            names = "--svg",
            paramLabel = "FILE",
            description = "Also draw the loss curves as a picture, light and dark.")
    private Path svg;

    @Option(names = "--png", paramLabel = "FILE", description = "The same in pixels, light.")
    private Path png;

    @Option(
            names = "--csv",
            paramLabel = "FILE",
            description = "Also write all metrics as a CSV, a row for each recorded step of each run.")
    private Path csv;

    @Override
    public Integer call() throws IOException {
        if (folders.isEmpty() && !Files.isDirectory(Runs.FOLDER)) {
            throw new IOException(
                    "There are no runs under " + Runs.FOLDER + " yet; train one, or give the folder of a run.");
        }
        Set<Path> places = new HashSet<>();
        for (Path file : Stream.of(out, svg, png, csv).filter(Objects::nonNull).toList()) {
            if (!places.add(file.toAbsolutePath().normalize())) {
                throw new IllegalArgumentException(
                        "The page, each picture and the CSV need a file of their own; give another name than " + file
                                + ".");
            }
        }
        List<RunReport> reports = Runs.reports(folders.isEmpty() ? List.of(Runs.FOLDER) : folders);
        List<CurvesPicture.Curve> curves = CurvesPicture.Curve.of(reports);
        Map<Path, byte[]> files = new LinkedHashMap<>(); // made before the first is written
        if (svg != null) {
            files.put(svg, CurvesPicture.svg(curves).getBytes(StandardCharsets.UTF_8));
        }
        if (png != null) {
            files.put(png, CurvesImage.png(curves));
        }
        if (csv != null) {
            files.put(csv, MetricsCsv.of(reports).getBytes(StandardCharsets.UTF_8));
        }
        ReportPage.write(out, reports);
        System.out.println(out);
        for (Map.Entry<Path, byte[]> file : files.entrySet()) {
            AtomicFiles.write(file.getKey(), file.getValue());
            System.out.println(file.getKey());
        }
        return 0;
    }
}
