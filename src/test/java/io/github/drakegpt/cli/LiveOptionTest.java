package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.report.Browser;
import io.github.drakegpt.report.LiveClient;
import io.github.drakegpt.report.LiveServer;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.net.BindException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code train --live}. */
@Timeout(120) // of a hang
class LiveOptionTest {
    private static final Pattern ADDRESS = Pattern.compile("Live page: http://localhost:(\\d+)/\n");

    @TempDir
    Path temp;

    Path corpus;
    Path run;

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        run = temp.resolve("run");
    }

    @Test
    void metricsArriveUntilTheEnd() throws IOException, InterruptedException {
        Process process = start(TinyRuns.args(
                corpus, run, "--live", "0", "--set", "train.iters=1000", "--set", "train.eval_interval=100"));
        try {
            int port = port();
            List<Integer> steps = new ArrayList<>();
            List<String> samples = new ArrayList<>();
            String reason = null;
            boolean metrics = false;
            try (LiveClient page = new LiveClient(port, "GET", "/", "Host: localhost:" + port);
                    LiveClient events = LiveClient.events(port)) {
                assertThat(page.status()).isEqualTo(200);
                while (reason == null) {
                    LiveClient.Event event = events.next().orElseThrow();
                    JsonNode data = event.data();
                    switch (event.name()) {
                        case "report" -> {
                            steps.clear();
                            samples.clear();
                            data.at("/runs/0/steps/step").forEach(step -> steps.add(step.asInt()));
                            data.at("/runs/0/evaluations/sample").forEach(sample -> samples.add(sample.asText()));
                        }
                        case "metrics" -> {
                            metrics = true;
                            steps.add(data.at("/metrics/step").asInt());
                            Optional.ofNullable(data.at("/metrics/sample").textValue())
                                    .ifPresent(samples::add);
                        }
                        default -> reason = data.get("reason").asText();
                    }
                }
            }
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
            assertThat(process.exitValue()).as(err()).isZero();
            assertThat(metrics).isTrue();
            assertThat(reason).isEqualTo("all 1,000 steps are done.");
            List<Metrics> recorded = MetricsFile.read(run.resolve(RunFolder.METRICS));
            assertThat(steps).isEqualTo(recorded.stream().map(Metrics::step).toList());
            assertThat(samples)
                    .isEqualTo(recorded.stream()
                            .filter(Metrics::isEvaluation)
                            .map(Metrics::sample)
                            .toList());
        } finally {
            process.destroyForcibly();
        }
    }

    @Test
    void aBrowserFollowsTheTrainingThroughReloadsAndAStop() throws IOException, InterruptedException {
        Process process = null;
        try (Browser browser = Browser.open()) {
            process = start(TinyRuns.args(
                    corpus, run, "--live", "0", "--set", "train.iters=1000000", "--set", "train.eval_interval=20"));
            int port = port();
            browser.go("http://localhost:" + port + "/");
            browser.await(
                    "#status-text",
                    text -> text.matches(
                            "step [\\d,]+ of 1,000,000, .* elapsed, about .* left, validation loss .*tokens/s"));
            browser.js("document.querySelector('#loss-charts details').open = true");
            int rows = rows(browser, 3);
            browser.find("input[name=losses][value=val]").click();
            rows = rows(browser, rows + 3);
            assertThat(table(browser).get(0)).containsExactly("20", first(Metrics::valLoss)); // what was chosen stays

            browser.go("http://localhost:" + port + "/");
            browser.await("#status-text", text -> text.startsWith("step "));
            browser.js("document.querySelector('#loss-charts details').open = true");
            rows(browser, rows);
            assertThat(table(browser).get(0)).containsExactly("20", first(Metrics::valLoss), first(Metrics::trainLoss));

            process.destroy(); // like Ctrl-C
            browser.await("#status-text", text -> text.contains("Training has ended: interrupted at step "));
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
            assertThat(process.exitValue()).as(err()).isZero();

            int stopped = RunFolder.open(run).state().step();
            process = start("train", "--resume", run.toString(), "--live", "" + port, "--data", "" + corpus);
            browser.await("#status-text", text -> !text.contains("ended") && step(text) > stopped);
            process.destroy();
            String end = browser.await("#status-text", text -> text.contains("Training has ended: "));
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
            int last = RunFolder.open(run).state().step();
            assertThat(end)
                    .startsWith(String.format(Locale.ROOT, "step %,d of 1,000,000, ", last))
                    .endsWith(String.format(Locale.ROOT, "interrupted at step %,d; it can be resumed.", last));
            List<Metrics> recorded = MetricsFile.read(run.resolve(RunFolder.METRICS)).stream()
                    .filter(Metrics::isEvaluation)
                    .toList();
            rows(browser, recorded.size());
            assertThat(table(browser))
                    .extracting(row -> row.get(0))
                    .containsExactlyElementsOf(recorded.stream()
                            .map(at -> String.format(Locale.ROOT, "%,d", at.step()))
                            .toList());
            assertThat(browser.requests()).allMatch(url -> url.startsWith("http://localhost:" + port + "/"));
            assertThat(browser.errors())
                    .filteredOn(
                            error -> !error.contains("/events - Failed to load resource: net::ERR_CONNECTION_REFUSED"))
                    .isEmpty();
        } finally {
            if (process != null) {
                process.destroyForcibly();
            }
        }
    }

    /** Where the page says that training stands; 0 if it does not. */
    private static int step(String status) {
        Matcher step = Pattern.compile("step ([\\d,]+) of .*").matcher(status);
        return step.matches() ? Integer.parseInt(step.group(1).replace(",", "")) : 0;
    }

    /** A loss of the first evaluation, as the page shows it. */
    private String first(Function<Metrics, Double> loss) throws IOException {
        return MetricsFile.read(run.resolve(RunFolder.METRICS)).stream()
                .filter(Metrics::isEvaluation)
                .map(at -> String.format(Locale.ROOT, "%.4f", loss.apply(at)))
                .findFirst()
                .orElseThrow();
    }

    /** Waits until the table of losses has as many rows, and says how many it has. */
    private static int rows(Browser browser, int least) throws InterruptedException {
        int rows;
        while ((rows = table(browser).size()) < least) {
            Thread.sleep(20);
        }
        return rows;
    }

    @SuppressWarnings("unchecked")
    private static List<List<String>> table(Browser browser) {
        return (List<List<String>>) browser.js("return [...document.querySelectorAll('#loss-charts details tbody tr')]"
                + ".map(row => [...row.children].map(cell => cell.textContent))");
    }

    private Process start(String... args) throws IOException {
        return new ProcessBuilder(Cli.command(temp, List.of(), args))
                .redirectOutput(temp.resolve("out").toFile())
                .redirectError(temp.resolve("err").toFile())
                .start();
    }

    private String err() throws IOException {
        return Files.readString(temp.resolve("err"));
    }

    private int port() throws IOException, InterruptedException {
        while (true) {
            Matcher address = ADDRESS.matcher(err());
            if (address.find()) {
                return Integer.parseInt(address.group(1));
            }
            Thread.sleep(5);
        }
    }

    @Test
    void aPortOfItsOwnChoiceIsFreeAndSaid() throws IOException {
        // whether the usual one is free here or not
        LiveServer usual = usualPort();
        try {
            Cli.Result result = Cli.run(TinyRuns.args(corpus, run, "--live"));
            assertThat(result.code()).as(result.err()).isZero();
            Matcher address = ADDRESS.matcher(result.err());
            assertThat(address.find()).isTrue();
            assertThat(result.err())
                    .contains("Port 8642 is taken, the live page is on " + address.group(1) + "\n")
                    .doesNotContain("localhost:8642");
        } finally {
            if (usual != null) {
                usual.close();
            }
        }
    }

    private static LiveServer usualPort() throws IOException {
        try {
            return new LiveServer(8642);
        } catch (BindException e) {
            return null; // another program has it
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"65536", "-1", "99999999999", "http", "8642x"})
    void aPortThatIsNoneIsRefused(String port) {
        TinyRuns.assertFails(
                Cli.run(TinyRuns.args(corpus, run, "--live=" + port)),
                2,
                "--live takes a port from 0 to 65535, not '" + port + "'.");
        assertThat(run).doesNotExist();
    }

    @Test
    void aPortThatIsTakenIsRefused() throws IOException {
        try (LiveServer other = new LiveServer(0)) {
            String port = Integer.toString(other.port());
            TinyRuns.assertFails(
                    Cli.run(TinyRuns.args(corpus, run, "--live", port)), 2, "Port " + port + " cannot be had (");
        }
        assertThat(run).doesNotExist();
    }

    @Test
    void theNextOptionIsNoPort() {
        String[] args = TinyRuns.args(corpus, run, "--live", "--model", "BigramLM");
        Cli.Result result = Cli.run(args);
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).containsPattern(ADDRESS).contains("BigramLM: ");
    }
}
