package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.model.Models;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
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
        assertThat(texts(PROGRESSION + "th")).containsExactly(Models.BIGRAM, Models.SINGLE_HEAD, Models.MULTI_HEAD);
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
}
