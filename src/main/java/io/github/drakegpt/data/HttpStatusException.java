package io.github.drakegpt.data;

import java.io.IOException;
import java.net.URI;

/** A server's refusal, as one sentence. */
final class HttpStatusException extends IOException {
    private final URI uri;
    private final int status;

    HttpStatusException(URI uri, int status) {
        super(sentence(uri, status));
        this.uri = uri;
        this.status = status;
    }

    /** The server that refused: after redirects, not always the one that was asked. */
    URI uri() {
        return uri;
    }

    int status() {
        return status;
    }

    private static String sentence(URI uri, int status) {
        String shown = Downloader.shown(uri) + " answers HTTP " + status;
        return switch (status) {
            case 401, 403 -> shown + " (no access); download it in a browser and give the file to --source.";
            case 404, 410 -> shown + " (not there); check the address.";
            case 429 -> shown + " (too many requests); wait a while and run the same command again.";
            default ->
                status >= 500
                        ? shown + " (the server has trouble); run the same command again later."
                        : shown + "; check the address, or download it in a browser and give the file to --source.";
        };
    }
}
