package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.report.CurvesPicture;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code report --svg}, {@code --png} and {@code --csv}. */
class ReportPictureTest {
    @TempDir
    Path temp;

    Path run;
    String page;

    @BeforeEach
    void prepare() throws IOException {
        run = TinyRuns.bigram(TinyRuns.corpus(temp.resolve("corpus")), temp.resolve("one & only"));
        page = temp.resolve("report.html").toString();
    }

    @Test
    void drawsTheCurves() throws IOException {
        String svg = temp.resolve("curves.svg").toString();
        String png = temp.resolve("curves.png").toString();

        Cli.Result result = Cli.run("report", run.toString(), "--out", page, "--svg", svg, "--png", png);

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).isEqualTo(page + "\n" + svg + "\n" + png + "\n");
        assertThat(Files.readString(Path.of(svg))).startsWith("<svg ").contains(">one &amp; only</text>");
        assertThat(ImageIO.read(Path.of(png).toFile()).getWidth()).isEqualTo(2 * CurvesPicture.WIDTH);
    }

    @Test
    void writesTheMetricsAsCsv() throws IOException {
        Path csv = temp.resolve("metrics.csv");

        Cli.Result result = Cli.run("report", run.toString(), "--out", page, "--csv", csv.toString());

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).isEqualTo(page + "\n" + csv + "\n");
        List<Metrics> metrics = MetricsFile.read(run.resolve(RunFolder.METRICS));
        List<String> lines = Files.readAllLines(csv);
        assertThat(lines).hasSize(1 + metrics.size());
        for (int i = 0; i < metrics.size(); i++) {
            Metrics at = metrics.get(i);
            assertThat(lines.get(1 + i))
                    .startsWith("one & only,BigramLM,42," + at.step() + "," + at.loss() + ",")
                    .contains(at.isEvaluation() ? at.trainLoss() + "," + at.shownValLoss() + "," : ",,,");
        }
    }

    @Test
    void withoutAnEvaluationNothingIsWritten() throws IOException {
        Files.delete(run.resolve(RunFolder.METRICS));
        String svg = temp.resolve("curves.svg").toString();
        TinyRuns.assertFails(
                Cli.run("report", run.toString(), "--out", page, "--svg", svg), 2, "There is no curve to draw: ");
        assertThat(Path.of(page)).doesNotExist();
        assertThat(Path.of(svg)).doesNotExist();
    }

    @Test
    void aJavaThatCannotDrawSaysSo() throws IOException, InterruptedException {
        String png = temp.resolve("curves.png").toString();
        Cli.Result result = Cli.runIn(
                temp,
                List.of(
                        "--limit-modules",
                        "java.logging,java.management,java.naming,java.net.http,java.xml,jdk.unsupported"),
                "report",
                run.toString(),
                "--out",
                page,
                "--png",
                png);
        TinyRuns.assertFails(result, 1, "This Java was made without what draws pixels (java.desktop); ");
        assertThat(Path.of(png)).doesNotExist();
    }
}
