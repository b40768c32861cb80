package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.tracking.Metrics;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.openqa.selenium.Keys;

/** Reports of more than can be drawn as it is. */
class LargeReportBrowserTest {
    private static final String BATCH_READOUT = "#chart-batch ~ .readout";
    private static final String THINNED = "#chart-batch ~ .note";

    @TempDir
    Path temp;

    private Browser browser;
    private RunReport empty;

    @BeforeEach
    void open() throws IOException {
        browser = Browser.open();
        empty = RunReport.read(TestRuns.create(temp.resolve("run")));
    }

    @AfterEach
    void close() {
        if (browser != null) {
            browser.close();
        }
    }

    private RunReport run(String name, List<Metrics> metrics) {
        return new RunReport(
                name,
                temp.resolve(name),
                empty.created(),
                empty.config(),
                empty.model(),
                empty.state(),
                metrics,
                empty.parameters(),
                empty.weightBytes(),
                empty.weightsOnly(),
                empty.machine(),
                empty.profile());
    }

    private List<Metrics> lines(int steps, int interval) {
        return IntStream.rangeClosed(1, steps)
                .mapToObj(step -> step % interval == 0
                        ? TestRuns.evaluation(step, 2 + 1.0 / step, 3, null)
                        : TestRuns.step(step, 2 + 1.0 / step))
                .toList();
    }

    private void show(List<RunReport> runs) throws IOException {
        Path page = temp.resolve("report.html");
        ReportPage.write(page, runs);
        browser.go(page);
    }

    @Test
    void aHundredThousandPointsAreAllThere() throws IOException {
        show(List.of(run("long", lines(100_000, 100))));

        assertThat(browser.find(THINNED).isDisplayed()).isFalse();
        browser.find("#chart-batch").sendKeys(Keys.END, Keys.ARROW_LEFT);
        assertThat(browser.text(BATCH_READOUT)).isEqualTo("step 99,999long2.0000");
        browser.find("#chart-batch ~ details summary").click();
        browser.await("#chart-batch ~ details tbody tr:last-child th", "100,000"::equals);
        assertThat(browser.findAll("#chart-batch ~ details tbody tr")).hasSize(1000);
        assertThat(browser.text("#chart-batch ~ details .note")).startsWith("One of 100 recorded steps");
        assertThat(browser.errors()).isEmpty();
    }

    @Test
    void ofALongRunAmongTwoHundredTheExtremesAreDrawnUntilItIsZoomed() throws IOException {
        List<RunReport> runs = new ArrayList<>();
        IntStream.range(0, 200).forEach(i -> runs.add(run("short-" + i, lines(20 + i % 3, 10))));
        runs.add(run("long", lines(50_000, 100)));
        show(runs);

        assertThat(browser.find(THINNED).isDisplayed()).isTrue();
        browser.find("#chart-batch").sendKeys(Keys.END);
        assertThat(browser.text(BATCH_READOUT)).isEqualTo("step 50,000long2.0000");
        browser.find("#chart-batch").sendKeys(Keys.HOME);
        assertThat(browser.text(BATCH_READOUT)).startsWith("step 1").endsWith("and 189 more runs");
        browser.find("#chart-batch").sendKeys("++++++"); // a 64th of the steps
        assertThat(browser.find(THINNED).isDisplayed()).isFalse();
        browser.find("#chart-batch").sendKeys(Keys.END, Keys.ARROW_LEFT);
        assertThat(browser.text(BATCH_READOUT)).matches("step 7\\d\\dlong2.001\\d");

        assertThat(browser.findAll("#models tbody tr")).hasSize(201);
        assertThat(browser.errors()).isEmpty();
    }
}
