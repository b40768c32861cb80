package io.github.drakegpt.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermission;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A Kaggle user name and API key. */
final class KaggleCredentials {
    static final String HOW_TO =
            "on kaggle.com open Settings, API, create a new token (the legacy kind), and save it as ~/.kaggle/kaggle.json";

    private static final Logger LOG = LoggerFactory.getLogger(KaggleCredentials.class);
    private static final Set<PosixFilePermission> OTHERS_READ =
            Set.of(PosixFilePermission.GROUP_READ, PosixFilePermission.OTHERS_READ);

    private final String username;
    private final String key;

    private KaggleCredentials(String username, String key) {
        this.username = username;
        this.key = key;
    }

    /**
     * Takes them from {@code KAGGLE_USERNAME} and {@code KAGGLE_KEY}, or else from {@code kaggle.json} in
     * {@code KAGGLE_CONFIG_DIR} or {@code ~/.kaggle}; warns if others can read that file.
     *
     * @param environment the environment variables
     * @param home the user's home folder
     * @throws IOException if there are none, or the file is damaged; the message says how to get a token
     */
    static KaggleCredentials find(Map<String, String> environment, Path home) throws IOException {
        String username = environment.getOrDefault("KAGGLE_USERNAME", "");
        String key = environment.getOrDefault("KAGGLE_KEY", "");
        if (!username.isEmpty() && !key.isEmpty()) {
            return new KaggleCredentials(username, key);
        }
        String folder = environment.getOrDefault("KAGGLE_CONFIG_DIR", "");
        Path file = (folder.isEmpty() ? home.resolve(".kaggle") : Path.of(folder)).resolve("kaggle.json");
        if (!Files.exists(file)) {
            throw new IOException("No Kaggle token was found: " + HOW_TO
                    + ", or set KAGGLE_USERNAME and KAGGLE_KEY; --source sample needs none.");
        }
        return read(file);
    }

    private static KaggleCredentials read(Path file) throws IOException {
        // Windows has no such permissions and gives no view.
        var view = Files.getFileAttributeView(file, PosixFileAttributeView.class);
        if (view != null && view.readAttributes().permissions().stream().anyMatch(OTHERS_READ::contains)) {
            LOG.warn("Other users of this computer can read your Kaggle key; run: chmod 600 {}", file);
        }
        JsonNode json;
        try {
            json = new ObjectMapper().readTree(Files.readAllBytes(file));
        } catch (JsonProcessingException e) {
            // Without the cause, whose message would show a piece of the key.
            throw damaged(file);
        }
        String username = json.path("username").asText();
        String key = json.path("key").asText();
        if (username.isEmpty() || key.isEmpty()) {
            throw damaged(file);
        }
        return new KaggleCredentials(username, key);
    }

    private static IOException damaged(Path file) {
        return new IOException(file + " holds no Kaggle token ({\"username\": ..., \"key\": ...}): " + HOW_TO + ".");
    }

    String username() {
        return username;
    }

    /** The Authorization header: HTTP Basic. */
    String authorization() {
        byte[] pair = (username + ":" + key).getBytes(StandardCharsets.UTF_8);
        return "Basic " + Base64.getEncoder().encodeToString(pair);
    }
}
