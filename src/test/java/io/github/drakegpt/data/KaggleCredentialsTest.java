package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Base64;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.slf4j.LoggerFactory;

class KaggleCredentialsTest {
    private static final Map<String, String> NOTHING = Map.of();

    @TempDir
    Path home;

    private final ListAppender<ILoggingEvent> log = new ListAppender<>();

    @BeforeEach
    void listen() {
        log.start();
        logger().addAppender(log);
        logger().setAdditive(false);
    }

    @AfterEach
    void stopListening() {
        logger().detachAppender(log);
        logger().setAdditive(true);
    }

    @Test
    void theEnvironmentComesFirst() throws IOException {
        save(home.resolve(".kaggle"), "file", "key", "rw-------");

        var found = KaggleCredentials.find(Map.of("KAGGLE_USERNAME", "me", "KAGGLE_KEY", "a:b"), home);

        assertThat(found.username()).isEqualTo("me");
        assertThat(found.authorization()).isEqualTo(basic("me:a:b"));
        assertThat(found.toString()).doesNotContain("a:b");
    }

    @Test
    void elseTheFileInTheHomeFolder() throws IOException {
        save(home.resolve(".kaggle"), "file", "key", "rw-------");

        assertThat(KaggleCredentials.find(NOTHING, home).authorization()).isEqualTo(basic("file:key"));
        assertThat(KaggleCredentials.find(Map.of("KAGGLE_USERNAME", "me"), home).authorization())
                .isEqualTo(basic("file:key"));
        assertThat(log.list).isEmpty();
    }

    @Test
    void orInTheFolderThatTheEnvironmentNames() throws IOException {
        save(home.resolve(".kaggle"), "home", "key", "rw-------");
        save(home.resolve("config"), "config", "key", "rw-------");

        Map<String, String> environment =
                Map.of("KAGGLE_CONFIG_DIR", home.resolve("config").toString());
        assertThat(KaggleCredentials.find(environment, home).username()).isEqualTo("config");
    }

    @ParameterizedTest
    @CsvSource({"rw-r--r--,true", "rw----r--,true", "rw-r-----,true", "rw-------,false", "r--------,false"})
    void warnsIfOthersCanReadTheFile(String permissions, boolean warns) throws IOException {
        Path file = save(home.resolve(".kaggle"), "me", "key", permissions);

        KaggleCredentials.find(NOTHING, home);

        assertThat(log.list).hasSize(warns ? 1 : 0);
        assertThat(log.list).allSatisfy(event -> {
            assertThat(event.getLevel()).isEqualTo(Level.WARN);
            assertThat(event.getFormattedMessage()).endsWith("chmod 600 " + file);
        });
    }

    @Test
    void noTokenSaysHowToGetOne() {
        assertThatThrownBy(() -> KaggleCredentials.find(NOTHING, home))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("Settings")
                .hasMessageContaining("create a new token")
                .hasMessageContaining("~/.kaggle/kaggle.json")
                .hasMessageContaining("--source sample needs none");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"", "{\"username\":\"me\"}", "{\"key\":\"s3cret\"}", "{\"username\":\"me\",\"key\":s3cret}"})
    void aDamagedFileIsNamedWithoutTheKey(String content) throws IOException {
        Path file = save(home.resolve(".kaggle"), "me", "key", "rw-------");
        Files.writeString(file, content);

        assertThatThrownBy(() -> KaggleCredentials.find(NOTHING, home))
                .hasMessageStartingWith(file + " holds no Kaggle token")
                .hasMessageNotContaining("s3cret")
                .hasNoCause();
    }

    private static Path save(Path folder, String username, String key, String permissions) throws IOException {
        Path file = Files.createDirectories(folder).resolve("kaggle.json");
        Files.writeString(file, "{\"username\":\"" + username + "\",\"key\":\"" + key + "\"}");
        return Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
    }

    private static String basic(String pair) {
        return "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
    }

    private static Logger logger() {
        return (Logger) LoggerFactory.getLogger(KaggleCredentials.class);
    }
}
