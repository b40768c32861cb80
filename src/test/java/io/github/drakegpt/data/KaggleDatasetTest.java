package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpExchange;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KaggleDatasetTest {
    private static final String PATH = "/api/v1/datasets/download/deepshah16/song-lyrics-dataset";
    private static final String RIGHT =
            "Basic " + Base64.getEncoder().encodeToString("me:right".getBytes(StandardCharsets.UTF_8));
    private static final Map<String, String> TOKEN = Map.of("KAGGLE_USERNAME", "me", "KAGGLE_KEY", "right");

    @TempDir
    Path temp;

    private Path cache;
    private byte[] zip;

    @BeforeEach
    void makeZip() throws IOException {
        cache = temp.resolve("data/.kaggle");
        zip = TestZip.of(
                "csv/Drake.csv", ",Artist,Lyric\n0,Drake,la la\n1,Drake,\n2,Drake,di da\n",
                "csv/BillieEilish.csv", "Artist,Lyric\nB,ooh\n",
                "json files/Lyrics_Drake.json", "{}");
    }

    @Test
    void theArtistsColumnIsRead() throws IOException {
        try (TestServer server = kaggle()) {
            assertThat(lyrics(server, TOKEN, "drake")).isEqualTo("la la\ndi da");
            assertThat(server.header(0, "Authorization")).isEqualTo(RIGHT);
        }
    }

    @Test
    void theNextArtistNeedsNeitherDownloadNorToken() throws IOException {
        try (TestServer server = kaggle()) {
            lyrics(server, TOKEN, "Drake");
            assertThat(lyrics(server, Map.of(), "Billie Eilish")).isEqualTo("ooh");
            assertThat(server.count()).isEqualTo(1);
        }
    }

    @Test
    void theTokenIsNotSentToTheStorageHost() throws IOException {
        try (TestServer storage = new TestServer(exchange -> TestServer.answer(exchange, 200, zip));
                TestServer server = new TestServer(exchange -> TestServer.redirect(
                        exchange, storage.localhost("/a.zip?signed").toString()))) {
            assertThat(lyrics(server, TOKEN, "Drake")).isEqualTo("la la\ndi da");
            assertThat(storage.header(0, "Authorization")).isNull();
        }
    }

    @Test
    void aWrongTokenIsNamed() throws IOException {
        try (TestServer server = kaggle()) {
            assertThatThrownBy(() -> lyrics(server, Map.of("KAGGLE_USERNAME", "me", "KAGGLE_KEY", "wrong"), "Drake"))
                    .hasMessageContaining("token of me")
                    .hasMessageContaining("HTTP 401")
                    .hasMessageContaining("create a new token")
                    .hasMessageNotContaining("wrong");
        }
        assertThat(cache).doesNotExist();
    }

    @Test
    void withoutATokenNothingIsAskedFor() throws IOException {
        try (TestServer server = kaggle()) {
            assertThatThrownBy(() -> lyrics(server, Map.of(), "Drake")).hasMessageContaining("No Kaggle token");
            assertThat(server.count()).isZero();
        }
        assertThat(cache).doesNotExist();
    }

    @ParameterizedTest
    @CsvSource({"403,terms to accept", "404,use --source sample", "500,again later", "503,again later"})
    void refusalsSayWhatToDo(int status, String words) throws IOException {
        try (TestServer server = new TestServer(exchange -> TestServer.answer(exchange, status, new byte[0]))) {
            assertThatThrownBy(() -> lyrics(server, TOKEN, "Drake"))
                    .hasMessageContaining("HTTP " + status)
                    .hasMessageContaining(words);
        }
    }

    @Test
    void aRefusalByTheStorageHostIsNotBlamedOnTheToken() throws IOException {
        try (TestServer storage = new TestServer(exchange -> TestServer.answer(exchange, 403, new byte[0]));
                TestServer server = new TestServer(exchange ->
                        TestServer.redirect(exchange, storage.uri("/a.zip").toString()))) {
            assertThatThrownBy(() -> lyrics(server, TOKEN, "Drake"))
                    .hasMessageStartingWith(storage.uri("/a.zip") + " answers HTTP 403");
        }
    }

    @Test
    void anUnknownArtistNamesTheNearest() throws IOException {
        try (TestServer server = kaggle()) {
            assertThatThrownBy(() -> lyrics(server, TOKEN, "Drak"))
                    .hasMessage("The dataset has no artist Drak; choose with --artist among its 2, nearest first:"
                            + " Drake, BillieEilish.");
            assertThat(lyrics(server, TOKEN, "Drake")).isNotEmpty();
            assertThat(server.count()).isEqualTo(1);
        }
    }

    @Test
    void aDamagedArchiveIsRemovedAndDownloadedAnew() throws IOException {
        byte[] whole = zip;
        zip = "<html>please log in</html>".getBytes(StandardCharsets.UTF_8);
        try (TestServer server = kaggle()) {
            assertThatThrownBy(() -> lyrics(server, TOKEN, "Drake"))
                    .hasMessageContaining("damaged or unsafe")
                    .hasMessageContaining("was removed; run the same command again");
            zip = whole;
            assertThat(lyrics(server, TOKEN, "Drake")).isEqualTo("la la\ndi da");
            assertThat(server.count()).isEqualTo(2);
        }
    }

    @Test
    void anUnsafeArchiveWritesNothing() throws IOException {
        zip = TestZip.of("csv/Drake.csv", "Lyric\nla\n", "../../escaped.csv", "evil");
        try (TestServer server = kaggle()) {
            assertThatThrownBy(() -> lyrics(server, TOKEN, "Drake")).hasMessageContaining("unsafe path");
        }
        zip = TestZip.of("csv/Drake.csv", "Lyric\n" + "la".repeat(2_000_000));
        try (TestServer server = kaggle()) {
            assertThatThrownBy(() -> lyrics(server, TOKEN, "Drake")).hasMessageContaining("would unpack");
        }
        try (var files = Files.walk(temp)) {
            assertThat(files).noneMatch(Files::isRegularFile);
        }
    }

    @Test
    void aMissingColumnNamesThoseThatAreThere() throws IOException {
        try (TestServer server = kaggle()) {
            KaggleDataset dataset = new KaggleDataset(server.uri(""), cache, TOKEN, temp);
            assertThatThrownBy(() -> dataset.lyrics("BillieEilish", "Text", 512, (done, total) -> {}))
                    .hasMessageContaining("csv/BillieEilish.csv has no column Text")
                    .hasMessageContaining("Artist, Lyric");
        }
    }

    /** Gives the archive to who has the right token. */
    private TestServer kaggle() throws IOException {
        return new TestServer(exchange -> TestServer.answer(exchange, status(exchange), zip));
    }

    private static int status(HttpExchange exchange) {
        if (!exchange.getRequestURI().getPath().equals(PATH)) {
            return 404;
        }
        return RIGHT.equals(exchange.getRequestHeaders().getFirst("Authorization")) ? 200 : 401;
    }

    private String lyrics(TestServer server, Map<String, String> environment, String artist) throws IOException {
        return new KaggleDataset(server.uri(""), cache, environment, temp)
                .lyrics(artist, "Lyric", 512, (done, total) -> {});
    }
}
