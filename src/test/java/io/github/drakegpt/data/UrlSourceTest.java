package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpHandler;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class UrlSourceTest {
    private static final byte[] CSV = "Lyric\nla\ndi\n".getBytes(StandardCharsets.UTF_8);

    @TempDir
    Path temp;

    @ParameterizedTest
    @CsvSource({
        "/a.csv,text/plain,true",
        "/a,text/csv; charset=utf-8,true",
        "/a.csv.gz,application/gzip,true",
        "/a.txt,text/plain,false",
        "/a,application/octet-stream,false"
    })
    void isReadByItsEndingOrContentType(String path, String type, boolean csv) throws IOException {
        HttpHandler handler = exchange -> {
            exchange.getResponseHeaders().set("Content-Type", type);
            TestServer.answer(exchange, 200, path.endsWith(".gz") ? TextSourceTest.gzip("Lyric\nla\ndi\n") : CSV);
        };
        try (TestServer server = new TestServer(handler)) {
            UrlSource source = new UrlSource(server.uri(path) + "?token=secret");
            UrlSource.Text text = source.read("Lyric", temp.resolve("cache"), 1, (done, total) -> {});

            assertThat(text).isEqualTo(new UrlSource.Text(csv ? "la\ndi" : "Lyric\nla\ndi\n", csv));
            assertThat(source.shown()).isEqualTo(server.uri(path).toString());
            assertThat(server.header(0, "Authorization")).isNull();
        }
        assertThat(temp.resolve("cache")).doesNotExist();
    }

    @Test
    void errorsShowTheAddress() throws IOException {
        try (TestServer server = new TestServer(exchange -> TestServer.answer(exchange, 200, new byte[] {0, 1}))) {
            assertThatThrownBy(() -> new UrlSource(server.uri("/a.txt").toString())
                            .read("Lyric", temp.resolve("cache"), 1, (done, total) -> {}))
                    .hasMessageStartingWith(server.uri("/a.txt") + " is not UTF-8 text");
        }
        assertThat(temp.resolve("cache")).doesNotExist();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "ftp://a.org/x",
                "file:///x",
                "http://",
                "http:///x",
                "https://u:p@a.org/x",
                "http://a b/",
                "http://a.org:99999/"
            })
    void refusesWhatIsNoPlainWebAddress(String address) {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new UrlSource(address))
                .withMessageContaining("--source");
    }

    @ParameterizedTest
    @CsvSource({"https://a.org/b/my%20song.txt?x=/y.csv,my song.txt", "https://a.org/,a.org", "https://a.org,a.org"})
    void takesItsNameFromThePath(String address, String name) {
        assertThat(new UrlSource(address).fileName()).isEqualTo(name);
    }
}
