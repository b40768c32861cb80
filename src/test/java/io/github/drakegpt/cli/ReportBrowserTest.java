package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.report.Browser;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.openqa.selenium.By;
import org.openqa.selenium.Keys;
import org.openqa.selenium.WebElement;
import org.openqa.selenium.interactions.Actions;

/** The report of real runs, as a browser shows it. */
class ReportBrowserTest {
    private static final String SCRIPT =
            "<script>alert(1)</script>".replace("/", "\u2215"); // a folder's name has no slash
    private static final String MARKUP = "</script><img src=x onerror=alert(1)>\u2028end";
    private static final String READOUT = "#chart-loss ~ .readout";

    @TempDir
    static Path temp;

    static Browser browser;
    static Path bigram;
    static Path transformer;
    static Path page;

    @BeforeAll
    static void report() throws IOException {
        browser = Browser.open();
        Path corpus = TinyRuns.corpus(temp.resolve("corpus"));
        bigram = TinyRuns.bigram(corpus, temp.resolve("runs/" + SCRIPT));
        transformer = TinyRuns.train(corpus, temp.resolve("runs/TransformerLM"), "--set", "train.iters=50");
        Path quantized = TinyRuns.train(corpus, temp.resolve("runs/quantized"), "--quant", "b1.58");

        // what only another's file can have
        Path metrics = bigram.resolve(RunFolder.METRICS);
        List<Metrics> lines = MetricsFile.read(metrics);
        Metrics last = lines.get(lines.size() - 1);
        Files.writeString(
                metrics,
                MetricsFile.line(new Metrics(
                                30,
                                2.5,
                                2.25,
                                2.75,
                                null,
                                0.001,
                                Double.NaN,
                                9,
                                null,
                                last.elapsedSeconds() + 1,
                                MARKUP))
                        + "\n{\"step\":40,\"lo",
                StandardOpenOption.APPEND);
        Files.writeString(
                quantized.resolve(RunFolder.MACHINE), "{\"device\":\"<b>cpu</b>\",\"processor\":\"one & only\"}");
        page = temp.resolve("report.html");
        Cli.Result result = Cli.run("report", temp.resolve("runs").toString(), "--out", page.toString());
        assertThat(result.code()).as(result.err()).isZero();
    }

    @AfterAll
    static void close() {
        if (browser != null) {
            browser.close();
        }
    }

    @BeforeEach
    void open() {
        browser.size(1280, 900);
        browser.go(page);
    }

    @AfterEach
    void nothingWentWrong() {
        assertThat(browser.errors()).isEmpty();
        assertThat(browser.requests()).isNotEmpty().allMatch(page.toUri().toString()::equals);
    }

    /** The values of a readout by the runs' names. */
    private static Map<String, List<String>> values(String readout) {
        return browser.findAll(readout + " tbody tr").stream()
                .collect(Collectors.toMap(
                        row -> row.findElement(By.tagName("th")).getDomProperty("textContent"),
                        row -> row.findElements(By.tagName("td")).stream()
                                .map(WebElement::getText)
                                .toList()));
    }

    private static String step(String readout) {
        return browser.text(readout + " thead th");
    }

    private static Map<Integer, Metrics> evaluations(Path run) throws IOException {
        Map<Integer, Metrics> evaluations = new TreeMap<>();
        MetricsFile.read(run.resolve(RunFolder.METRICS)).stream()
                .filter(Metrics::isEvaluation)
                .forEach(metrics -> evaluations.put(metrics.step(), metrics));
        return evaluations;
    }

    private static List<String> losses(Metrics metrics) {
        return List.of(
                String.format(Locale.ROOT, "%.4f", metrics.shownValLoss()),
                String.format(Locale.ROOT, "%.4f", metrics.trainLoss()));
    }

    private static void press(CharSequence... keys) {
        browser.find("#chart-loss").sendKeys(keys);
    }

    private static void showOnly(int run) {
        browser.find("#no-runs").click();
        browser.findAll("#runs input").get(run).click();
    }

    @Test
    void arrowKeysReadTheCharts() throws IOException {
        Map<Integer, Metrics> evaluations = evaluations(transformer);
        assertThat(evaluations).containsOnlyKeys(10, 20, 30, 40, 50);

        for (Metrics metrics : evaluations.values()) {
            press(Keys.ARROW_RIGHT);
            assertThat(step(READOUT)).isEqualTo("step " + metrics.step());
            assertThat(values(READOUT)).containsEntry("TransformerLM", losses(metrics));
            assertThat(browser.text("#chart-loss ~ .spoken"))
                    .startsWith("Step " + metrics.step())
                    .contains("TransformerLM: validation " + losses(metrics).get(0));
        }
        press(Keys.HOME);
        assertThat(step(READOUT)).isEqualTo("step 10");
        assertThat(values(READOUT))
                .hasSize(3)
                .containsEntry(SCRIPT, losses(evaluations(bigram).get(10)));
        press(Keys.END);
        assertThat(step(READOUT)).isEqualTo("step 50");
        assertThat(values(READOUT)).containsOnlyKeys("TransformerLM"); // the others have ended
        press(Keys.ESCAPE);
        assertThat(browser.find(READOUT).isDisplayed()).isFalse();
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "log-loss", "log-steps"})
    void hoveringShowsTheValuesAtTheStepWhateverTheScales(String scale) throws IOException {
        Object before = browser.js("return document.querySelector('#chart-loss canvas').toDataURL()");
        if (!scale.isEmpty()) {
            browser.find("#" + scale).click();
            assertThat(browser.js("return document.querySelector('#chart-loss canvas').toDataURL()"))
                    .isNotEqualTo(before);
        }
        WebElement over = browser.find("#chart-loss .u-over");
        int right = over.getSize().width / 2 - 2;
        new Actions(browser.driver()).moveToElement(over, right, 0).perform();

        assertThat(step(READOUT)).isEqualTo("step 50");
        assertThat(values(READOUT))
                .containsEntry("TransformerLM", losses(evaluations(transformer).get(50)));
    }

    @Test
    void onlyTheLossesThatAreChosenAreShown() throws IOException {
        browser.find("input[value=train]").sendKeys(Keys.SPACE);
        press(Keys.HOME);

        assertThat(values(READOUT))
                .containsEntry(
                        "TransformerLM",
                        List.of(losses(evaluations(transformer).get(10)).get(1)));
    }

    @Test
    void aRunThatIsHiddenIsInNoChart() {
        browser.findAll("#runs input").get(0).click();
        for (String chart : List.of("loss", "batch", "gradient", "rate", "speed", "memory")) {
            browser.find("#chart-" + chart).sendKeys(Keys.HOME);
            assertThat(values("#chart-" + chart + " ~ .readout"))
                    .as(chart)
                    .containsOnlyKeys("TransformerLM", "quantized");
        }
        assertThat(browser.findAll(".card")).hasSize(2);

        browser.find("#no-runs").click();
        assertThat(browser.findAll("canvas")).isEmpty();
        browser.find("#all-runs").click();
        press(Keys.HOME);
        assertThat(values(READOUT)).hasSize(3);
    }

    @Test
    void draggingZoomsAllChartsUntilReset() {
        showOnly(1);
        assertThat(browser.find("#reset-zoom").isDisplayed()).isFalse();
        WebElement over = browser.find("#chart-loss .u-over");
        int width = over.getSize().width;
        new Actions(browser.driver())
                .moveToElement(over, -width / 20, 0) // from 45% to 85% of the steps to 50
                .clickAndHold()
                .moveByOffset(width * 2 / 5, 0)
                .release()
                .perform();

        press(Keys.HOME);
        assertThat(step(READOUT)).isEqualTo("step 30");
        press(Keys.END);
        assertThat(step(READOUT)).isEqualTo("step 40");
        browser.find("#chart-batch").sendKeys(Keys.END);
        assertThat(step("#chart-batch ~ .readout")).matches("step 4[0-3]");

        browser.find("#reset-zoom").click();
        press(Keys.HOME);
        assertThat(step(READOUT)).isEqualTo("step 10");
        assertThat(browser.find("#reset-zoom").isDisplayed()).isFalse();
    }

    @Test
    void aChartIsATableToo() throws IOException {
        showOnly(1);
        browser.find("#chart-loss ~ details summary").click();

        String table = "#chart-loss ~ details tbody tr";
        browser.await(table + ":last-child th", "50"::equals);
        assertThat(browser.findAll(table)).hasSize(5);
        assertThat(browser.findAll(table + ":first-child td").stream().map(WebElement::getText))
                .containsExactlyElementsOf(losses(evaluations(transformer).get(10)));
    }

    @Test
    void theModelsCanBeSorted() {
        List<WebElement> heads = browser.findAll("#models th button");
        WebElement steps = heads.stream()
                .filter(head -> head.getText().equals("steps"))
                .findFirst()
                .orElseThrow();

        steps.click();
        assertThat(browser.text("#models tbody tr:last-child th")).isEqualTo("TransformerLM");
        steps.click();
        assertThat(browser.text("#models tbody tr:first-child th")).isEqualTo("TransformerLM");
        assertThat(browser.findAll("#models th[aria-sort=descending]")).hasSize(1);
    }

    @Test
    void quantizedModelsStandBesideFullPrecision() {
        assertThat(browser.findAll("#quantized-tables tbody th").stream().map(WebElement::getText))
                .containsExactly("TransformerLM", "quantized");
        assertThat(browser.text("#quantized-tables tbody tr:last-child td")).isEqualTo("1.58 bits");
    }

    @Test
    void textOfRunsIsShownAsText() {
        assertThat(browser.text("#runs .name")).isEqualTo(SCRIPT);
        assertThat(browser.text(".card h3")).isEqualTo(SCRIPT);
        assertThat(browser.text(".card pre")).isEqualTo(MARKUP);
        assertThat(browser.findAll("#machines dd").stream().map(WebElement::getText))
                .contains("<b>cpu</b>", "one & only");
        assertThat(browser.findAll("img, main script, main b:not(figcaption b)"))
                .isEmpty();
    }

    @Test
    void samplesGoThroughTheTraining() throws IOException {
        assertThat(browser.text("#samples-output")).isEqualTo("50");
        browser.find("#samples-step").sendKeys(Keys.HOME);

        assertThat(browser.text("#samples-output")).isEqualTo("10");
        assertThat(browser.text(".card pre"))
                .isEqualTo(evaluations(bigram).get(10).sample());
    }

    @ParameterizedTest
    @ValueSource(ints = {360, 390, 768, 1280})
    void thePageDoesNotScrollSideways(int width) {
        browser.size(width, 740);
        browser.js("document.querySelectorAll('figure details').forEach(details => details.open = true)");
        browser.awaitFrames(); // the charts are drawn anew
        press(Keys.HOME);

        assertThat(browser.find(READOUT).isDisplayed()).isTrue();
        assertThat((Long) browser.js("return document.documentElement.scrollWidth"))
                .isLessThanOrEqualTo((Long) browser.js("return document.documentElement.clientWidth"));
    }

    @Test
    void eachThemeHasItsColours() {
        for (String theme : List.of("dark", "light")) {
            browser.theme(theme);
            String stroke = theme.equals("dark") ? "#6985ed" : "#2e3ba5";
            browser.await("#runs .key-line line[stroke='" + stroke + "']", drawn -> true);
            assertThat((String) browser.js("return getComputedStyle(document.body).backgroundColor"))
                    .isEqualTo(theme.equals("dark") ? "rgb(24, 27, 32)" : "rgb(255, 255, 255)");
        }
    }
}
