package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.openqa.selenium.Keys;

/** What the live page makes of events, which this test sends one by one. */
class LivePageBrowserTest {
    private static final String STATUS = "#status-text";
    private static final String READOUT = "#chart-loss ~ .readout";
    private static final String CLOSE = "";

    @TempDir
    Path temp;

    private final LinkedBlockingQueue<String> events = new LinkedBlockingQueue<>();
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private Browser browser;
    private HttpServer server;
    private Path run;

    @BeforeEach
    void open() throws IOException {
        browser = Browser.open();
        run = TestRuns.create(
                temp.resolve("one"), TestRuns.step(10, 3), TestRuns.evaluation(20, 2.5, 2.75, "first <b>words</b>"));
        server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.setExecutor(threads);
        server.createContext("/", exchange -> {
            byte[] page = ReportPage.live();
            exchange.getResponseHeaders().set("Content-Type", "text/html; charset=utf-8");
            exchange.sendResponseHeaders(200, page.length);
            exchange.getResponseBody().write(page);
            exchange.close();
        });
        server.createContext("/events", this::send);
        server.start();
        browser.go("http://127.0.0.1:" + server.getAddress().getPort() + "/");
    }

    private void send(HttpExchange exchange) throws IOException {
        exchange.getResponseHeaders().set("Content-Type", "text/event-stream");
        exchange.sendResponseHeaders(200, 0);
        exchange.getResponseBody().write("retry: 100\n\n".getBytes(StandardCharsets.UTF_8));
        exchange.getResponseBody().flush();
        try (exchange) {
            for (String event = events.take(); !event.equals(CLOSE); event = events.take()) {
                exchange.getResponseBody().write(event.getBytes(StandardCharsets.UTF_8));
                exchange.getResponseBody().flush();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // the test has ended
        }
    }

    @AfterEach
    void close() {
        if (server != null) {
            browser.close();
            server.stop(0);
        }
        threads.shutdownNow();
    }

    private void event(String name, String data) {
        events.add("event: " + name + "\ndata: " + data + "\n\n");
    }

    private void report() throws IOException {
        event("report", ReportPage.data(RunReport.read(List.of(run))));
    }

    private void metrics(Metrics metrics) {
        event("metrics", "{\"run\":0,\"metrics\":" + MetricsFile.line(metrics) + "}");
    }

    private String lastReading() {
        browser.find("#chart-loss").sendKeys(Keys.END);
        return browser.text(READOUT);
    }

    @Test
    void thePageGrowsWithTheRun() throws IOException {
        browser.await(STATUS, "Waiting for the trainer."::equals);
        report();
        browser.await(
                STATUS,
                "step 20 of 1,000, 2.0 s elapsed, about 1 min 38 s left, validation loss 2.7500, 1,000 tokens/s"
                        ::equals);
        assertThat(lastReading()).contains("step 20", "2.7500", "2.5000");
        assertThat(browser.text(".card pre")).isEqualTo("first <b>words</b>");

        browser.find("#log-loss").click();
        metrics(TestRuns.step(30, Double.POSITIVE_INFINITY));
        metrics(TestRuns.evaluation(40, 2.25, 2.5, "second words"));
        browser.await(
                STATUS,
                "step 40 of 1,000, 4.0 s elapsed, about 1 min 36 s left, validation loss 2.5000, 1,000 tokens/s"
                        ::equals);
        browser.await(".card pre", "second words"::equals);
        browser.await("#models tbody", text -> text.contains("40 of 1,000"));
        browser.await("#runs .value", "2.5000"::equals);
        assertThat(lastReading()).contains("step 40", "2.5000", "2.2500");
        assertThat(browser.find("#log-loss").isSelected()).isTrue();

        // a run that goes on after a pause is the same run, hidden or not
        browser.find("#runs input").click();
        event("end", "{\"reason\":\"all steps are done\"}");
        browser.await(STATUS, text -> text.endsWith(". Training has ended: all steps are done"));
        events.add(CLOSE);
        TestRuns.write(run, TestRuns.evaluation(40, 2.25, 2.5, "second words"), TestRuns.evaluation(60, 2, 2.25, "x"));
        report();
        browser.await(
                STATUS,
                "step 60 of 1,000, 6.0 s elapsed, about 1 min 34 s left, validation loss 2.2500, 1,000 tokens/s"
                        ::equals);
        assertThat(browser.find("#runs input").isSelected()).isFalse();
        browser.find("#runs input").click();
        assertThat(lastReading()).contains("step 60", "2.2500");

        assertThat(browser.errors()).isEmpty();
        assertThat(browser.requests())
                .allMatch(url -> url.startsWith(browser.driver().getCurrentUrl()));
    }

    @Test
    void aRunThatHasJustBegunFillsWhileItIsLookedAt() throws IOException {
        run = TestRuns.create(temp.resolve("begun"));
        report();
        browser.await(STATUS, "step 0 of 1,000, first evaluation at step 20"::equals);
        assertThat(browser.text("#chart-loss")).isEqualTo("First evaluation at step 20.");
        assertThat(browser.find("#bar").getDomProperty("max")).isEqualTo("1000");
        assertThat(browser.find("#training").isDisplayed()).isFalse();
        assertThat(browser.find("#samples").isDisplayed()).isFalse();
        browser.js("document.querySelectorAll('#models th button')[3].focus()");

        metrics(TestRuns.step(10, 3));
        browser.await("#models tbody", text -> text.contains("10 of 1,000"));
        assertThat(browser.find("#bar").getDomProperty("value")).isEqualTo("10");
        assertThat(browser.findAll("#chart-batch canvas")).hasSize(1);
        metrics(TestRuns.evaluation(20, 2.5, 2.75, "words"));
        browser.await(".card pre", "words"::equals);
        assertThat(browser.js("return document.activeElement.textContent")).isEqualTo("weight bytes");
        assertThat(lastReading()).contains("step 20", "2.7500");
        assertThat(browser.errors()).isEmpty();
    }

    @Test
    void zoomStaysWhileTheRunGrows() throws IOException {
        report();
        browser.await(STATUS, text -> text.startsWith("step 20"));
        metrics(TestRuns.evaluation(30, 2, 2.25, null));
        metrics(TestRuns.evaluation(40, 2, 2.25, null));
        browser.await("#models tbody", text -> text.contains("40 of 1,000"));
        browser.find("#chart-loss").sendKeys(Keys.HOME, "++++++"); // around step 20, of 0 to 1,000
        assertThat(lastReading()).contains("step 30");

        metrics(TestRuns.evaluation(50, 1.75, 2, null));
        browser.await("#models tbody", text -> text.contains("50 of 1,000"));
        assertThat(lastReading()).contains("step 30");
        browser.find("#reset-zoom").click();
        assertThat(lastReading()).contains("step 50");
    }

    @Test
    void aLostConnectionIsSaidAndMended() throws IOException {
        report();
        browser.await(STATUS, text -> text.startsWith("step 20"));
        server.stop(0);
        browser.await(STATUS, text -> text.startsWith("The connection to the trainer is lost"));

        assertThat(lastReading()).contains("step 20", "2.7500");
    }
}
