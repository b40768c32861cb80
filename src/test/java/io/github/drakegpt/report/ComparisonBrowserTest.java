package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.quant.Quantization;
import java.io.IOException;
import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVRecord;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.openqa.selenium.Keys;
import org.openqa.selenium.WebElement;

/** What the report says of runs beside each other, as a browser shows it. */
class ComparisonBrowserTest {
    private static final String PROGRESSION = "#progressions tbody ";

    static Browser browser;

    @TempDir
    Path temp;

    private final List<Path> folders = new ArrayList<>();

    @BeforeAll
    static void open() {
        browser = Browser.open();
    }

    @AfterAll
    static void close() {
        if (browser != null) {
            browser.close();
        }
    }

    @AfterEach
    void nothingWentWrong() {
        assertThat(browser.errors()).isEmpty();
    }

    private void add(String name, String model, int seed, String corpus, double valLoss) throws IOException {
        folders.add(TestRuns.create(temp.resolve(name), model, seed, corpus, valLoss));
    }

    private void show() throws IOException {
        Path page = temp.resolve("report.html");
        ReportPage.write(page, RunReport.read(folders));
        browser.go(page);
    }

    private static List<String> texts(String selector) {
        return browser.findAll(selector).stream().map(WebElement::getText).toList();
    }

    @Test
    void whatEachPartBoughtIsSaidFirst() throws IOException {
        add("c", Models.MULTI_HEAD, 1, "lyrics", 2.375);
        add("a", Models.BIGRAM, 1, "lyrics", 2.5);
        add("b", Models.SINGLE_HEAD, 1, "lyrics", 2.25);
        show();

        assertThat(browser.text("main section:not([hidden]) h2")).isEqualTo("What each part bought");
        assertThat(browser.text("#progressions .verdict"))
                .isEqualTo("One head of self-attention lowered the val loss by 0.250, from 2.500 to 2.250;"
                        + " several heads side by side (+0.125) did not lower it.");
        assertThat(texts(PROGRESSION + "th"))
                .containsExactly(
                        "BigramLM \u00b7 a", "SingleHeadAttentionLM \u00b7 b", "MultiHeadAttentionLM \u00b7 c");
        assertThat(texts(PROGRESSION + "td:nth-child(4)")).containsExactly("\u2013", "\u22120.250", "+0.125");
        assertThat(browser.findAll(PROGRESSION + ".bar"))
                .extracting(bar -> bar.getSize().width)
                .satisfies(widths -> {
                    assertThat(widths).hasSize(2);
                    assertThat(widths.get(1)).isPositive();
                    assertThat(widths.get(0)).isBetween(2 * widths.get(1) - 1, 2 * widths.get(1) + 1);
                });
        assertThat(browser.findAll(PROGRESSION + ".bar.worse")).hasSize(1);
    }

    @Test
    void eachCorpusHasItsOwnProgression() throws IOException {
        for (String corpus : List.of("lyrics", "others")) {
            add(corpus + "-a", Models.BIGRAM, 1, corpus, 2.5);
            add(corpus + "-b", Models.SINGLE_HEAD, 1, corpus, corpus.equals("lyrics") ? 2 : 2.25);
        }
        show();

        assertThat(texts("#progressions h3")).hasSize(2).anyMatch(title -> title.contains("data.sha256 lyrics"));
        assertThat(texts(PROGRESSION + "tr:last-child td:nth-child(4)")).containsExactly("\u22120.500", "\u22120.250");
    }

    @Test
    void withoutAProgressionNothingIsSaidOfIt() throws IOException {
        add("a", Models.SINGLE_HEAD, 1, "lyrics", 2.5);
        show();

        assertThat(browser.find("#progression").isDisplayed()).isFalse();
    }

    private Path addQuantized(String name, Quantization quantization, double valLoss) throws IOException {
        Path folder = temp.resolve(name);
        RunFolder.create(folder, TestRuns.config(quantization), TestRuns.TOKENIZER);
        TestRuns.write(folder, TestRuns.evaluation(1000, 2, valLoss, null));
        folders.add(folder);
        return folder;
    }

    @Test
    void theVerdictOnQuantizedModelsIsInWords() throws IOException {
        addQuantized("full", Quantization.NONE, 2);
        addQuantized("ternary", Quantization.B158, 2.125);
        show();

        assertThat(browser.text("#quantized .verdict"))
                .startsWith(
                        "TransformerLM-b1.58 (ternary): +0.125 nats per character against full precision with the same"
                                + " settings (full), ");
        assertThat(texts("#quantized-tables tbody tr:last-child td")).contains("1.58 bits", "2.1250", "+0.1250");
    }

    @Test
    void seedsAreOneLineWithMeanAndDeviation() throws IOException {
        add("small-1", Models.BIGRAM, 1, "lyrics", 2.5);
        add("small-2", Models.BIGRAM, 2, "lyrics", 2.25);
        add("small-3", Models.BIGRAM, 3, "lyrics", 2.0);
        add("other", Models.SINGLE_HEAD, 1, "lyrics", 1.875);
        show();

        assertThat(texts("#runs .name")).containsExactly("small", "other");
        assertThat(texts("#runs .value")).containsExactly("2.2500 \u00b1 0.2500", "1.8750");
        assertThat(texts("#models tbody th"))
                .containsExactly("small \u00b7 BigramLM, mean of 3 seeds", "other \u00b7 SingleHeadAttentionLM");
        assertThat(texts(PROGRESSION + "td:nth-child(4)")).containsExactly("\u2013", "\u22120.375");
        browser.find("#chart-loss").sendKeys(Keys.HOME);
        assertThat(browser.text("#chart-loss ~ .readout")).contains("small2.25002.0000", "other1.87502.0000");
        assertThat(texts("#settings tbody tr")).anyMatch(row -> row.contains("train.seed") && row.contains("1, 2, 3"));
    }

    @Test
    void aSampleIsTheFirstSeedsThatHasOne() throws IOException {
        for (int seed = 1; seed <= 2; seed++) {
            add("small-" + seed, Models.BIGRAM, seed, "lyrics", 2.5);
            TestRuns.write(folders.get(seed - 1), TestRuns.evaluation(1020, 2, 2.25 + seed, "words of " + seed));
        }
        show();

        assertThat(texts(".card pre")).containsExactly("words of 1");
        assertThat(browser.text(".card p")).isEqualTo("step 1,020, the first seed's, mean validation loss 3.7500");
    }

    @Test
    void runsThatCannotBeComparedAreWarnedOf() throws IOException {
        add("one", Models.BIGRAM, 1, "11111111aaaa", 2);
        show();
        assertThat(browser.find("#warning").isDisplayed()).isFalse();

        add("two", Models.BIGRAM, 1, "22222222bbbb", 1.5);
        show();
        assertThat(browser.text("#warning"))
                .startsWith("Not all of these losses can be compared: they are of 2 different texts.")
                .contains("(11111111): one; ", "(22222222): two.");
        assertThat(browser.findAll("#models .best")).hasSize(2); // one of each text
    }

    @Test
    void firstLossesFarAboveTheRestAreLeftOutUntilZoomed() throws IOException {
        folders.add(TestRuns.create(
                temp.resolve("run"),
                TestRuns.evaluation(20, 50, 60, null),
                TestRuns.evaluation(40, 2.5, 2.75, null),
                TestRuns.evaluation(60, 2.25, 2.5, null),
                TestRuns.evaluation(1000, 2, 2.25, null)));
        show();
        String above = "#chart-loss ~ .above";

        assertThat(browser.text(above))
                .isEqualTo("The highest values, up to 60.0000, are above the chart: zoom in to see them.");
        browser.find("#chart-loss").sendKeys(Keys.HOME, "++++++"); // around step 20
        browser.awaitFrames();
        assertThat(browser.find(above).isDisplayed()).isFalse();
        browser.find("#reset-zoom").click();
        browser.awaitFrames();
        assertThat(browser.find(above).isDisplayed()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(strings = {"light", "dark"})
    void onAPhoneRowsAreCardsWithTheLossFirstAndNamesStayWhole(String theme) throws IOException {
        for (int i = 0; i < 6; i++) {
            add(Models.NAMES.get(i), Models.NAMES.get(i), 1, "lyrics", 2.5 - 0.125 * i);
        }
        browser.size(390, 844);
        browser.theme(theme);
        show();

        assertThat(browser.find("#models thead").isDisplayed()).isFalse();
        int name = browser.find("#models tbody th").getLocation().y;
        List<WebElement> cells = browser.findAll("#models tbody tr:first-child td");
        WebElement first = cells.stream()
                .min(Comparator.comparing((WebElement cell) -> cell.getLocation().y)
                        .thenComparing(cell -> cell.getLocation().x))
                .orElseThrow();
        assertThat(first.getDomAttribute("data-title")).isEqualTo("val loss");
        assertThat(first.getLocation().y).isGreaterThan(name);
        for (WebElement whole : browser.findAll("#models .run-name > span, #progressions .run-name > span")) {
            assertThat(whole.getSize().height).as(whole.getText()).isLessThan(30); // one line
        }
        assertThat((Long) browser.js("return document.documentElement.scrollWidth"))
                .isLessThanOrEqualTo(390);
        browser.size(1280, 900);
    }

    @Test
    void theCsvFromThePageIsThatOfTheCommand() throws IOException {
        add("=name, \"quoted\"", Models.BIGRAM, 1, "lyrics", 2.5);
        folders.add(TestRuns.create(
                temp.resolve("second"), TestRuns.step(10, 3.25), TestRuns.evaluation(20, 2.5, 2.75, "a,b")));
        Path downloads = Files.createDirectory(temp.resolve("downloads"));
        browser.downloadsTo(downloads);
        show();
        browser.find("#download-csv").click();

        Path file = downloads.resolve("drakegpt-runs.csv");
        await(() -> Files.exists(file) && Files.size(file) > 0);
        String expected = MetricsCsv.of(RunReport.read(folders));
        List<CSVRecord> rows =
                CSVFormat.DEFAULT.parse(new StringReader(expected)).getRecords();
        List<CSVRecord> found = CSVFormat.DEFAULT
                .parse(new StringReader(Files.readString(file)))
                .getRecords();
        assertThat(rows).hasSize(1 + 1 + 2);
        assertThat(rows.get(0).toList()).startsWith("run", "model", "seed", "step", "loss");
        assertThat(rows.get(1).get(0)).isEqualTo("'=name, \"quoted\"");
        assertThat(found).hasSameSizeAs(rows);
        for (int i = 0; i < rows.size(); i++) {
            assertThat(found.get(i).toList())
                    .usingElementComparator((a, b) -> sameCell(a, b) ? 0 : 1)
                    .isEqualTo(rows.get(i).toList());
        }
    }

    private static boolean sameCell(String a, String b) {
        String number = "-?[0-9.]+(E-?\\d+)?";
        return a.equals(b) || a.matches(number) && b.matches(number) && Double.parseDouble(a) == Double.parseDouble(b);
    }

    private interface Condition {
        boolean holds() throws IOException;
    }

    private static void await(Condition condition) throws IOException {
        long end = System.nanoTime() + 30_000_000_000L;
        while (!condition.holds()) {
            assertThat(System.nanoTime()).as("the download has not come").isLessThan(end);
            Thread.onSpinWait();
        }
    }
}
