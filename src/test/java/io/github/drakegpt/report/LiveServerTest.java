package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.report.LiveClient.Event;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import io.github.drakegpt.tracking.MetricsSink;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.net.BindException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.Socket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(120) // of a hang
class LiveServerTest {
    private static final ModelConfig MODEL =
            new ModelConfig(Models.BIGRAM, 5, 3, 4, 4, 2, 1, 0, false, Init.PYTORCH, Quantization.NONE, false);

    @TempDir
    Path temp;

    Path run;
    MetricsFile file;
    LiveServer server;

    @BeforeEach
    void serve() throws IOException {
        run = temp.resolve("run");
        ObjectMapper json = new ObjectMapper();
        ObjectNode config = json.createObjectNode().set("model", json.valueToTree(MODEL));
        file = new MetricsFile(RunFolder.create(run, config, CharTokenizer.of("abcde")));
        server = new LiveServer(0, Duration.ofMillis(20), Duration.ofSeconds(10));
    }

    @AfterEach
    void close() throws IOException {
        server.close();
        file.close();
    }

    private static Metrics metrics(int step) {
        return metrics(step, null);
    }

    private static Metrics metrics(int step, String sample) {
        return new Metrics(step, 2.5, null, null, null, 0.001, 1.0, 1000, null, 0.001 * step, sample);
    }

    /** As training does: the line first, then the event. */
    private void record(MetricsSink sink, int step) throws IOException {
        file.add(metrics(step));
        sink.add(metrics(step));
    }

    private LiveClient get(String target, String... headers) throws IOException {
        List<String> lines = new ArrayList<>(List.of("Host: localhost:" + server.port()));
        lines.addAll(List.of(headers));
        return new LiveClient(server.port(), "GET", target, lines.toArray(String[]::new));
    }

    private static void await(BooleanSupplier condition) throws InterruptedException {
        while (!condition.getAsBoolean()) {
            Thread.sleep(5);
        }
    }

    private static List<Integer> upTo(int last) {
        return IntStream.rangeClosed(1, last).boxed().toList();
    }

    // -------------------------------------------------------------------------------------------------- requests

    @Test
    void thePageIsServedAndNobodyElseMayHaveIt() throws IOException {
        try (LiveClient page = get("/")) {
            assertThat(page.status()).isEqualTo(200);
            assertThat(page.body()).isEqualTo(ReportPage.live());
            assertThat(page.headers())
                    .containsEntry("Content-Type", "text/html; charset=utf-8")
                    .containsEntry("Cache-Control", "no-store")
                    .containsEntry("Content-Security-Policy", "frame-ancestors 'none'")
                    .containsEntry("Cross-Origin-Opener-Policy", "same-origin")
                    .containsEntry("Cross-Origin-Resource-Policy", "same-origin")
                    .containsEntry("Referrer-Policy", "no-referrer")
                    .containsEntry("X-Content-Type-Options", "nosniff")
                    .containsEntry("X-Frame-Options", "DENY");
            assertThat(page.headers().keySet())
                    .noneMatch(name -> name.toLowerCase().startsWith("access-control"));
        }
        assertThat(server.uri()).hasToString("http://localhost:" + server.port() + "/");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "Host: localhost:PORT",
                "Host: LocalHost:PORT",
                "Host: 127.0.0.1:PORT",
                "Host: [::1]:PORT",
                "Host: localhost:PORT|Origin: http://localhost:PORT",
                "Host: 127.0.0.1:PORT|Origin: http://127.0.0.1:PORT|Sec-Fetch-Site: same-origin",
                "Host: localhost:PORT|Sec-Fetch-Site: none|Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document",
                "Host: localhost:PORT|Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document"
            })
    void itsOwnPageAndPeopleMayAsk(String headers) throws IOException {
        assertThat(status("/", headers)).isEqualTo(200);
    }

    /** HTTP asks for one: newer versions of Java refuse such requests themselves. */
    @ParameterizedTest
    @ValueSource(strings = {"Accept: */*", "Host: localhost:PORT|Host: example.com"})
    void noHostAndTwoHostsAreRefused(String headers) throws IOException {
        server.show(run);
        for (String target : List.of("/", "/events", "/other")) {
            assertThat(status(target, headers)).as(target).isIn(400, 403);
        }
        assertThat(server.clients()).isZero();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "Host: example.com",
                "Host: example.com:PORT",
                "Host: localhost.example.com:PORT",
                "Host: localhost",
                "Host: localhost:1",
                "Host: 127.0.0.2:PORT",
                "Host: localhost:PORT|Origin: https://example.com",
                "Host: localhost:PORT|Origin: null",
                "Host: localhost:PORT|Origin: http://localhost",
                "Host: localhost:PORT|Origin: https://localhost:PORT",
                "Host: localhost:PORT|Origin: http://127.0.0.1:PORT",
                "Host: localhost:PORT|Sec-Fetch-Site: cross-site",
                "Host: localhost:PORT|Sec-Fetch-Site: same-site",
                "Host: localhost:PORT|Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: no-cors|Sec-Fetch-Dest: image",
                "Host: localhost:PORT|Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: iframe",
            })
    void othersAreRefused(String headers) throws IOException {
        server.show(run);
        for (String target : List.of("/", "/events", "/other")) {
            assertThat(status(target, headers)).as(target).isEqualTo(403);
        }
        assertThat(server.clients()).isZero();
    }

    @Test
    void eventsAreForThePageOnly() throws IOException {
        assertThat(
                        status(
                                "/events",
                                "Host: localhost:PORT|Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document"))
                .isEqualTo(403);
    }

    private int status(String target, String headers) throws IOException {
        String[] lines =
                headers.replace("PORT", Integer.toString(server.port())).split("\\|");
        try (LiveClient client = new LiveClient(server.port(), "GET", target, lines)) {
            if (client.status() == 403) {
                assertThat(new String(client.body(), StandardCharsets.UTF_8))
                        .startsWith("Only this server's own page may ask");
            }
            return client.status();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"/other", "/events/", "/index.html", "/../", "/%2e", "http://localhost:PORT/"})
    void nothingElseIsThere(String target) throws IOException {
        try (LiveClient client = get(target.replace("PORT", Integer.toString(server.port())))) {
            assertThat(client.status()).isEqualTo(404);
        }
    }

    @ParameterizedTest
    @CsvSource({"POST, /", "HEAD, /", "OPTIONS, /events", "PUT, /events", "DELETE, /"})
    void onlyGetIsPossible(String method, String target) throws IOException {
        try (LiveClient client = new LiveClient(
                server.port(), method, target, "Host: localhost:" + server.port(), "Content-Length: 0")) {
            assertThat(client.status()).isEqualTo(405);
            assertThat(client.headers()).containsEntry("Allow", "GET");
        }
    }

    @Test
    void otherMachinesCannotConnect() throws IOException {
        for (NetworkInterface network : Collections.list(NetworkInterface.getNetworkInterfaces())) {
            for (InetAddress address : Collections.list(network.getInetAddresses())) {
                if (!address.isLoopbackAddress()) {
                    assertThatThrownBy(() -> new Socket(address, server.port()).close())
                            .as(address.toString())
                            .isInstanceOf(IOException.class);
                }
            }
        }
        assertThatThrownBy(() -> new Socket("127.0.0.2", server.port()).close()).isInstanceOf(IOException.class);
    }

    @Test
    void manyHalfRequestsKeepNobodyOut() throws Exception {
        server.show(run);
        List<Socket> half = new ArrayList<>();
        try (LiveClient events = LiveClient.events(server.port())) {
            for (int i = 0; i < 200; i++) {
                half.add(halfRequest(server));
                if (i % 50 == 0) {
                    try (LiveClient page = get("/")) {
                        assertThat(page.status()).isEqualTo(200);
                    }
                }
            }
            for (Socket oldest : half.subList(0, 100)) {
                assertDisconnected(oldest);
            }
            try (LiveClient page = get("/")) {
                assertThat(page.status()).isEqualTo(200);
            }
            assertThat(events.next().orElseThrow().name()).isEqualTo("report");
        } finally {
            for (Socket socket : half) {
                socket.close();
            }
        }
    }

    @Test
    void aRequestThatDoesNotEndIsDisconnectedAndAStreamOfEventsIsNot() throws Exception {
        try (LiveServer impatient = new LiveServer(0, Duration.ofMillis(20), Duration.ofMillis(200))) {
            impatient.show(run);
            try (LiveClient events = LiveClient.events(impatient.port());
                    Socket half = halfRequest(impatient)) {
                assertThat(events.next().orElseThrow().name()).isEqualTo("report");
                assertDisconnected(half);
                try (Socket again = halfRequest(impatient)) {
                    assertDisconnected(again);
                }
                assertThat(impatient.clients()).isEqualTo(1);
            }
        }
    }

    private static Socket halfRequest(LiveServer server) throws IOException {
        Socket socket = new Socket("127.0.0.1", server.port());
        socket.getOutputStream().write("GET / HTTP/1.1\r\nHost: local".getBytes(StandardCharsets.ISO_8859_1));
        return socket;
    }

    private static void assertDisconnected(Socket socket) throws IOException {
        try {
            assertThat(socket.getInputStream().read()).isEqualTo(-1);
        } catch (SocketException e) {
            assertThat(e).hasMessageContaining("reset"); // with bytes that nobody read
        }
    }

    @Test
    void aTakenPortIsSaid() {
        assertThatThrownBy(() -> new LiveServer(server.port())).isInstanceOf(BindException.class);
    }

    // ---------------------------------------------------------------------------------------------------- events

    @Test
    void whoConnectsGetsAllSoFarAndThenEachLine() throws IOException {
        MetricsSink sink = server.show(run);
        record(sink, 10);
        try (LiveClient client = LiveClient.events(server.port())) {
            assertThat(client.headers()).containsEntry("Content-Type", "text/event-stream; charset=utf-8");
            assertThat(client.block()).contains("retry: 2000");
            Event report = client.next().orElseThrow();
            assertThat(report.name()).isEqualTo("report");
            assertThat(report.data().toString()).isEqualTo(ReportPage.data(RunReport.read(List.of(run))));

            record(sink, 20);
            Event line = client.next().orElseThrow();
            assertThat(line.name()).isEqualTo("metrics");
            assertThat(line.data())
                    .isEqualTo(new ObjectMapper()
                            .readTree("{\"run\":0,\"metrics\":" + MetricsFile.line(metrics(20)) + "}"));
        }
    }

    @Test
    void nothingIsMissingOrDoubledWhenAClientConnectsWhileLinesAreWritten() throws Exception {
        int lines = 900; // fewer than a queue holds
        MetricsSink sink = server.show(run);
        List<CompletableFuture<List<Integer>>> clients = new ArrayList<>();
        for (int step = 1; step <= lines; step++) {
            record(sink, step);
            if (step % 100 == 0) {
                clients.add(CompletableFuture.supplyAsync(
                        () -> {
                            try (LiveClient client = LiveClient.events(server.port())) {
                                return client.steps(0, lines);
                            } catch (IOException e) {
                                throw new AssertionError(e);
                            }
                        },
                        task -> new Thread(task).start()));
            }
            if (step % 4 == 0) {
                Thread.sleep(1); // so that clients connect meanwhile
            }
        }
        for (CompletableFuture<List<Integer>> steps : clients) {
            assertThat(steps.get()).isEqualTo(upTo(lines));
        }
    }

    @Test
    void stepsThatAreDoneAgainAreShownAgain() throws IOException {
        MetricsSink sink = server.show(run);
        record(sink, 1);
        record(sink, 2);
        try (LiveClient client = LiveClient.events(server.port())) {
            assertThat(client.next().orElseThrow().data().at("/runs/0/steps/step"))
                    .hasSize(2);
            file.close();
            Files.writeString(run.resolve(RunFolder.METRICS), MetricsFile.line(metrics(1)) + "\n");
            sink.start(null);
            record(sink, 2);
            assertThat(client.steps(0, 2)).isEqualTo(upTo(2));
        }
    }

    @Test
    void runsAreShownSideBySide() throws IOException {
        server.show(run);
        try (LiveClient client = LiveClient.events(server.port())) {
            assertThat(client.next().orElseThrow().data().at("/runs")).hasSize(1);
            Path second = temp.resolve("second");
            Files.createDirectory(second);
            for (String name : List.of(RunFolder.CONFIG, RunFolder.VOCAB)) {
                Files.copy(run.resolve(name), second.resolve(name));
            }
            MetricsSink sink = server.show(second);
            assertThat(client.next().orElseThrow().data().at("/runs/1/name").asText())
                    .isEqualTo("second");
            sink.add(metrics(7));
            assertThat(client.next().orElseThrow().data().at("/run").asInt()).isEqualTo(1);
        }
    }

    @Test
    void aClientThatDoesNotReadHoldsNothingUpAndIsDropped() throws Exception {
        MetricsSink sink = server.show(run);
        try (LiveClient stuck = LiveClient.events(server.port());
                LiveClient reading = LiveClient.events(server.port())) {
            assertThat(reading.next().orElseThrow().name()).isEqualTo("report");
            await(() -> server.clients() == 2);
            String sample = "x".repeat(10_000);
            for (int step = 1; server.clients() == 2; step++) { // what is not read fills buffers, then the queue
                sink.add(metrics(step, sample));
                assertThat(reading.next()
                                .orElseThrow()
                                .data()
                                .at("/metrics/step")
                                .asInt())
                        .isEqualTo(step);
            }
            assertThatThrownBy(() -> stuck.steps(0, Integer.MAX_VALUE)).isInstanceOf(IOException.class);
        }
    }

    @Test
    void aClientThatIsGoneIsFound() throws Exception {
        server.show(run);
        LiveClient client = LiveClient.events(server.port());
        client.next();
        assertThat(server.clients()).isEqualTo(1);
        client.close();
        await(() -> server.clients() == 0); // by a heartbeat
    }

    @Test
    void manyPagesCanBeOpenButNotAnyNumber() throws Exception {
        MetricsSink sink = server.show(run);
        List<LiveClient> clients = new ArrayList<>();
        for (int i = 0; i < 32; i++) {
            clients.add(LiveClient.events(server.port()));
            assertThat(clients.get(i).next().orElseThrow().name()).isEqualTo("report");
        }
        try (LiveClient oneTooMany = LiveClient.events(server.port())) {
            assertThat(oneTooMany.status()).isEqualTo(503);
        }
        try (LiveClient page = get("/")) {
            assertThat(page.status()).isEqualTo(200);
        }
        record(sink, 1);
        for (LiveClient client : clients) {
            assertThat(client.next().orElseThrow().name()).isEqualTo("metrics");
            client.close();
        }
        await(() -> server.clients() == 0);
        try (LiveClient again = LiveClient.events(server.port())) {
            assertThat(again.status()).isEqualTo(200);
        }
    }

    // ---------------------------------------------------------------------------------------------------- the end

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "COMPLETED | all 2,000 steps are done.",
                "OUT_OF_PATIENCE | stopped early at step 2,000: no lower val loss since step 1,500.",
                "INTERRUPTED | interrupted at step 2,000; it can be resumed."
            })
    void clientsAreToldHowItEnded(TrainingResult.End end, String reason) throws IOException {
        MetricsSink sink = server.show(run);
        try (LiveClient client = LiveClient.events(server.port())) {
            client.next();
            sink.end(new TrainingResult(end, new TrainingState(2000, 2.0, 2.0, 1.9, 1500, 1, 10, 12, null), 25));
            server.close();
            assertThat(client.next().orElseThrow().name()).isEqualTo("report");
            Event last = client.next().orElseThrow();
            assertThat(last.name()).isEqualTo("end");
            assertThat(last.data().get("reason").asText()).isEqualTo(reason);
            assertThat(client.next()).isEmpty();
        }
    }

    @Test
    void aRunThatFailsAfterAnotherWasDoneIsNotCalledDone() throws IOException {
        server.show(run)
                .end(new TrainingResult(
                        TrainingResult.End.COMPLETED,
                        new TrainingState(2000, 2.0, 2.0, 1.9, 1500, 1, 10, 12, null),
                        25));
        MetricsSink second = server.show(run);
        try (LiveClient client = LiveClient.events(server.port())) {
            client.next();
            second.start(null);
            server.close();
            Event event = client.next().orElseThrow();
            while (event.name().equals("report")) {
                event = client.next().orElseThrow();
            }
            assertThat(event.data().get("reason").asText()).isEqualTo("it has failed.");
        }
    }

    @Test
    void afterTheEndNothingIsLeft() throws Exception {
        server.show(run);
        try (LiveClient client = LiveClient.events(server.port())) {
            client.next();
            int port = server.port();
            server.close();
            server.close();
            client.next();
            assertThat(client.next().orElseThrow().data().get("reason").asText())
                    .isEqualTo("it has failed.");
            assertThatThrownBy(() -> LiveClient.events(port)).isInstanceOf(ConnectException.class);
            await(() -> Thread.getAllStackTraces().keySet().stream()
                    .noneMatch(thread -> thread.getName().startsWith("drakegpt-live")));
            new LiveServer(port).close(); // which is free again
        }
    }

    @Test
    void itEndsAlsoWhenAClientDoesNotRead() throws Exception {
        MetricsSink sink = server.show(run);
        try (LiveClient stuck = LiveClient.events(server.port())) {
            await(() -> server.clients() == 1);
            String sample = "x".repeat(20_000);
            for (int step = 1; step <= 1000; step++) {
                sink.add(metrics(step, sample));
            }
            server.close();
            await(() -> server.clients() == 0);
            assertThat(stuck.status()).isEqualTo(200);
        }
    }

    @Test
    void itKeepsNoProcessAlive() {
        assertThat(Thread.getAllStackTraces().keySet().stream()
                        .filter(thread -> thread.getName().startsWith("drakegpt-live")
                                || thread.getName().equals("HTTP-Dispatcher")))
                .isNotEmpty()
                .allMatch(Thread::isDaemon);
    }
}
