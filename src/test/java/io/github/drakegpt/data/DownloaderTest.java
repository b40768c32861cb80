package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpHandler;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DownloaderTest {
    private static final byte[] BODY = new byte[200_000];
    private static final byte[] OTHER = new byte[190_000];
    private static final Optional<String> SECRET = Optional.of("Basic secret");

    static {
        new Random(1).nextBytes(BODY);
        new Random(2).nextBytes(OTHER);
    }

    @TempDir
    Path folder;

    private final List<long[]> progress = new ArrayList<>();
    private Path target;

    @BeforeEach
    void chooseTarget() {
        target = folder.resolve("x.zip");
    }

    @Test
    void downloadsAndReportsProgress() throws IOException {
        HttpHandler handler = exchange -> {
            exchange.getResponseHeaders().set("Content-Type", "application/zip");
            TestServer.answer(exchange, 200, BODY);
        };
        try (TestServer server = new TestServer(handler)) {
            assertThat(download(server.uri("/x"))).contains("application/zip");

            assertThat(server.header(0, "Authorization")).isEqualTo("Basic secret");
            assertThat(server.header(0, "Range")).isNull();
        }
        assertComplete(BODY);
        assertThat(progress.get(progress.size() - 1)).containsExactly(BODY.length, BODY.length);
    }

    @Test
    void aBodyOfUnknownLengthIsTakenAsItComes() throws IOException {
        HttpHandler handler = exchange -> {
            exchange.sendResponseHeaders(200, 0);
            exchange.getResponseBody().write(BODY);
        };
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));
        }
        assertComplete(BODY);
        assertThat(progress.get(0)[1]).isEqualTo(-1);
    }

    @Test
    void credentialsFollowARedirectWithinTheHost() throws IOException {
        HttpHandler handler = exchange -> {
            if (exchange.getRequestURI().getPath().equals("/x")) {
                TestServer.redirect(exchange, "/y");
            } else {
                TestServer.answer(exchange, 200, BODY);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));

            assertThat(server.header(1, "Authorization")).isEqualTo("Basic secret");
        }
        assertComplete(BODY);
    }

    @Test
    void credentialsStayWithTheirPort() throws IOException {
        try (TestServer storage = new TestServer(exchange -> TestServer.answer(exchange, 200, BODY));
                TestServer server = new TestServer(exchange -> TestServer.redirect(
                        exchange, storage.uri("/signed?token=1").toString()))) {
            download(server.uri("/x"));

            assertThat(server.header(0, "Authorization")).isEqualTo("Basic secret");
            assertThat(storage.count()).isEqualTo(1);
            assertThat(storage.header(0, "Authorization")).isNull();
        }
        assertComplete(BODY);
    }

    @Test
    void credentialsStayWithTheirHostNameAndDoNotComeBack() throws IOException {
        TestServer[] self = new TestServer[1];
        HttpHandler handler = exchange -> {
            switch (exchange.getRequestURI().getPath()) {
                case "/x" ->
                    TestServer.redirect(exchange, self[0].localhost("/y").toString());
                case "/y" -> TestServer.redirect(exchange, self[0].uri("/z").toString());
                default -> TestServer.answer(exchange, 200, BODY);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            self[0] = server;
            download(server.uri("/x"));

            assertThat(server.count()).isEqualTo(3);
            assertThat(server.header(0, "Authorization")).isEqualTo("Basic secret");
            assertThat(server.header(1, "Authorization")).isNull();
            assertThat(server.header(2, "Authorization")).isNull();
        }
    }

    @ParameterizedTest
    @CsvSource({
        "https://a.org/x, https://a.org:443/y, true",
        "http://a.org/x, http://A.ORG:80/y, true",
        "https://a.org/x, http://a.org/x, false",
        "https://a.org/x, https://b.a.org/x, false",
        "https://a.org/x, https://a.org:8443/x, false",
    })
    void anOriginIsSchemeHostAndPort(URI a, URI b, boolean same) {
        assertThat(Downloader.sameOrigin(a, b)).isEqualTo(same);
    }

    @Test
    void aRedirectLoopEnds() throws IOException {
        try (TestServer server = new TestServer(exchange -> TestServer.redirect(exchange, "/x"))) {
            assertThatThrownBy(() -> download(server.uri("/x"))).hasMessageContaining("redirects more than 10 times");
            assertThat(server.count()).isEqualTo(11);
        }
        assertThat(target).doesNotExist();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"file:///etc/passwd", "ftp://127.0.0.1/x", "http:///nohost", "http://127.0.0.1:99999/", "a b", ""
            })
    void aRedirectToNoWebAddressIsRefused(String location) throws IOException {
        try (TestServer server = new TestServer(exchange -> TestServer.redirect(exchange, location))) {
            assertThatThrownBy(() -> download(server.uri("/x")))
                    .isExactlyInstanceOf(IOException.class)
                    .hasMessageContaining("redirects to no safe web address");
            assertThat(server.count()).isEqualTo(1);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "401,no access",
        "403,no access",
        "404,not there",
        "429,too many",
        "503,trouble",
        "418,check the address"
    })
    void aRefusalIsASentenceWithoutTheQuery(int status, String words) throws IOException {
        try (TestServer server = new TestServer(exchange -> TestServer.answer(exchange, status, new byte[0]))) {
            assertThatThrownBy(() -> download(server.uri("/x?token=secret")))
                    .isInstanceOf(HttpStatusException.class)
                    .hasMessageStartingWith(server.uri("/x") + " answers HTTP " + status)
                    .hasMessageContaining(words)
                    .hasMessageNotContaining("secret");
            assertThat(server.count()).isEqualTo(1);
        }
        assertThat(folder).isEmptyDirectory();
    }

    @Test
    void aHostThatIsNotThereIsNamed() throws IOException {
        URI gone;
        try (TestServer server = new TestServer(exchange -> TestServer.answer(exchange, 200, BODY))) {
            gone = server.uri("/x");
        }
        assertThatThrownBy(() -> download(gone)).hasMessageStartingWith("Could not reach 127.0.0.1 (");
    }

    @Test
    void aBodyCutOffIsContinuedAtOnce() throws IOException {
        HttpHandler handler = exchange -> {
            if (exchange.getRequestHeaders().containsKey("Range")) {
                TestServer.answerRange(exchange, BODY, "\"v1\"");
            } else {
                exchange.getResponseHeaders().set("ETag", "\"v1\"");
                TestServer.cutOff(exchange, 200, BODY, 0, 120_000);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));

            assertThat(server.count()).isEqualTo(2);
            assertThat(server.header(1, "Range")).matches("bytes=[1-9]\\d*-");
            assertThat(server.header(1, "If-Range")).isEqualTo("\"v1\"");
            assertThat(server.header(1, "Authorization")).isEqualTo("Basic secret");
        }
        assertComplete(BODY);
    }

    @Test
    void aDownloadThatBrokeOffIsContinuedByTheNextRun() throws IOException {
        try (TestServer server = new TestServer(alwaysCutOff("\"v1\""))) {
            assertThatThrownBy(() -> download(server.uri("/x")))
                    .hasMessageContaining("broke off 4 times")
                    .hasMessageContaining("run the same command again, it resumes where it stopped");
            assertThat(server.count()).isEqualTo(4);
        }
        assertThat(target).doesNotExist();
        long kept = Files.size(folder.resolve("x.zip.part"));
        assertThat(kept).isPositive();

        try (TestServer server = new TestServer(exchange -> TestServer.answerRange(exchange, BODY, "\"v1\""))) {
            download(server.uri("/x"));
            assertThat(server.header(0, "Range")).isEqualTo("bytes=" + kept + "-");
        }
        assertComplete(BODY);
    }

    @Test
    void aServerThatIgnoresRangeStartsAgain() throws IOException {
        leavePart();
        HttpHandler handler = exchange -> {
            exchange.getResponseHeaders().set("ETag", "\"v1\"");
            TestServer.answer(exchange, 200, BODY);
        };
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));
            assertThat(server.header(0, "Range")).isNotNull();
            assertThat(server.count()).isEqualTo(1);
        }
        assertComplete(BODY);
    }

    @Test
    void aFileThatChangedMeanwhileStartsAgain() throws IOException {
        leavePart();
        // A server that honours Range without looking at If-Range.
        HttpHandler handler = exchange -> {
            if (exchange.getRequestHeaders().containsKey("Range")) {
                TestServer.answerRange(exchange, OTHER, "\"v2\"");
            } else {
                exchange.getResponseHeaders().set("ETag", "\"v2\"");
                TestServer.answer(exchange, 200, OTHER);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));
            assertThat(server.count()).isEqualTo(2);
        }
        assertComplete(OTHER);
    }

    @Test
    void aRangeThatDoesNotFitStartsAgain() throws IOException {
        leavePart();
        HttpHandler handler = exchange ->
                TestServer.answer(exchange, exchange.getRequestHeaders().containsKey("Range") ? 416 : 200, BODY);
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));
        }
        assertComplete(BODY);
    }

    @Test
    void withoutAReliableVersionNothingIsContinued() throws IOException {
        AtomicInteger calls = new AtomicInteger();
        HttpHandler handler = exchange -> {
            exchange.getResponseHeaders().set("ETag", "W/\"weak\"");
            if (calls.incrementAndGet() == 1) {
                TestServer.cutOff(exchange, 200, BODY, 0, 120_000);
            } else {
                TestServer.answer(exchange, 200, BODY);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));
            assertThat(server.header(1, "Range")).isNull();
        }
        assertComplete(BODY);
    }

    @Test
    void anUnwritableFolderIsNamedAndNotRetried() throws IOException {
        Path missing = folder.resolve("missing/x.zip");
        try (TestServer server = new TestServer(exchange -> TestServer.answer(exchange, 200, BODY))) {
            assertThatThrownBy(() -> new Downloader(1, (done, total) -> {}).download(server.uri("/x"), SECRET, missing))
                    .hasMessageStartingWith("Could not write " + missing + ".part: its folder does not exist");
            assertThat(server.count()).isEqualTo(1);
        }
    }

    @Test
    void aFileThatIsTooLargeIsRefusedBeforeItComes() throws IOException {
        leavePart();
        HttpHandler handler = exchange -> exchange.sendResponseHeaders(200, (1 << 20) + 1);
        try (TestServer server = new TestServer(handler)) {
            assertThatThrownBy(() -> download(server.uri("/x?token=secret")))
                    .hasMessage(server.uri("/x")
                            + " is larger than 1 MB; if it is the right file, allow more with --max-download.");
            assertThat(server.count()).isEqualTo(1);
        }
        assertThat(folder).isEmptyDirectory();
    }

    @Test
    void anEndlessFileIsCutOffAndRemoved() throws IOException {
        HttpHandler handler = exchange -> {
            exchange.getResponseHeaders().set("ETag", "\"v1\"");
            exchange.sendResponseHeaders(200, 0);
            while (true) {
                exchange.getResponseBody().write(BODY); // until the connection is closed
            }
        };
        try (TestServer server = new TestServer(handler)) {
            assertThatThrownBy(() -> download(server.uri("/x"))).hasMessageContaining("is larger than 1 MB");
        }
        assertThat(progress.get(progress.size() - 1)[0]).isLessThanOrEqualTo(1 << 20);
        assertThat(folder).isEmptyDirectory();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aFileThatComesTooSlowlyIsNotWaitedFor(boolean continuable) throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        HttpHandler handler = exchange -> {
            if (continuable) {
                exchange.getResponseHeaders().set("ETag", "\"v1\"");
            }
            exchange.sendResponseHeaders(200, BODY.length);
            exchange.getResponseBody().write(BODY, 0, 1000);
            exchange.getResponseBody().flush();
            try {
                end.await();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            try {
                assertThatThrownBy(() -> download(server.uri("/x"), Duration.ofSeconds(1)))
                        .hasMessage(server.uri("/x")
                                + " sent less than 60000 bytes in 1 seconds; run the same command again later.");
            } finally {
                end.countDown();
            }
            assertThat(server.count()).isEqualTo(1);
        }
        assertThat(Files.exists(folder.resolve("x.zip.part"))).isEqualTo(continuable);
    }

    @ParameterizedTest
    @ValueSource(strings = {"99999999999999999999", "-5", "many"})
    void aLengthThatIsNoneIsAnErrorOfTheServer(String length) throws IOException {
        try (RawServer server = new RawServer("HTTP/1.1 200 OK\r\nContent-Length: " + length + "\r\n\r\nx")) {
            assertThatThrownBy(() -> download(server.uri("/x")))
                    .isInstanceOf(IOException.class)
                    .hasMessageMatching("(Could not reach|The download of|http).+; check the .+\\.");
        }
        assertThat(folder).isEmptyDirectory();
    }

    @Test
    void aStatusLineDoesNotReachTheTerminalAsItIs() throws IOException {
        try (RawServer server = new RawServer("rubbish \u001b[2J\r\n\r\n")) {
            assertThatThrownBy(() -> download(server.uri("/x")))
                    .hasMessageContaining("rubbish \\u001b[2J")
                    .hasMessageNotContaining("\u001b");
        }
    }

    @Test
    void aRangeBeyondALongDoesNotFit() throws IOException {
        leavePart();
        HttpHandler handler = exchange -> {
            if (exchange.getRequestHeaders().containsKey("Range")) {
                exchange.getResponseHeaders().set("Content-Range", "bytes 99999999999999999999-1/2");
                TestServer.answer(exchange, 206, OTHER);
            } else {
                TestServer.answer(exchange, 200, BODY);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            download(server.uri("/x"));
        }
        assertComplete(BODY);
    }

    @Test
    void aRedirectsUserAndPasswordAreNotShown() throws IOException {
        HttpHandler handler = exchange -> {
            if (exchange.getRequestURI().getPath().equals("/x")) {
                TestServer.redirect(
                        exchange,
                        "http://me:secret@" + exchange.getRequestHeaders().getFirst("Host") + "/y");
            } else {
                TestServer.answer(exchange, 404, new byte[0]);
            }
        };
        try (TestServer server = new TestServer(handler)) {
            assertThatThrownBy(() -> download(server.uri("/x")))
                    .hasMessage(server.uri("/y") + " answers HTTP 404 (not there); check the address.");
        }
    }

    /** Hangs up before the end, whatever is asked for. */
    private static HttpHandler alwaysCutOff(String etag) {
        return exchange -> {
            exchange.getResponseHeaders().set("ETag", etag);
            if (exchange.getRequestHeaders().containsKey("Range")) {
                int from = TestServer.rangeStart(exchange);
                exchange.getResponseHeaders()
                        .set("Content-Range", "bytes " + from + "-" + (BODY.length - 1) + "/" + BODY.length);
                TestServer.cutOff(exchange, 206, BODY, from, 20_000);
            } else {
                TestServer.cutOff(exchange, 200, BODY, 0, 20_000);
            }
        };
    }

    private void leavePart() throws IOException {
        Files.write(folder.resolve("x.zip.part"), Arrays.copyOf(BODY, 50_000));
        Files.write(folder.resolve("x.zip.part.etag"), "\"v1\"".getBytes(StandardCharsets.UTF_8));
    }

    private Optional<String> download(URI uri) throws IOException {
        return download(uri, Duration.ofSeconds(60));
    }

    private Optional<String> download(URI uri, Duration patience) throws IOException {
        return new Downloader(1, patience, (done, total) -> progress.add(new long[] {done, total}))
                .download(uri, SECRET, target);
    }

    private void assertComplete(byte[] body) throws IOException {
        assertThat(Files.readAllBytes(target)).isEqualTo(body);
        try (var files = Files.list(folder)) {
            assertThat(files).containsExactly(target);
        }
    }
}
