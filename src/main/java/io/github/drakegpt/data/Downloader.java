package io.github.drakegpt.data;

import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Downloads a file over HTTP. It follows redirects itself, because credentials must go to their own host only, and
 * continues a download that broke off, now or at the next call.
 */
final class Downloader {
    private static final int MAX_REDIRECTS = 10;
    private static final int MAX_RETRIES = 3;
    private static final Set<Integer> REDIRECTS = Set.of(301, 302, 303, 307, 308);
    private static final Pattern CONTENT_RANGE = Pattern.compile("bytes (\\d+)-\\d+/(\\d+|\\*)");

    private final HttpClient http = HttpClient.newBuilder()
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(Duration.ofSeconds(30))
            .build();
    private final DownloadListener listener;

    Downloader(DownloadListener listener) {
        this.listener = listener;
    }

    /** A server's response, and its address after redirects. */
    private record Answer(URI uri, HttpResponse<InputStream> response) {
        Optional<String> header(String name) {
            return response.headers().firstValue(name);
        }
    }

    /**
     * Downloads to {@code target}, which appears only when it is complete; its folder must exist.
     *
     * @param authorization the Authorization header, sent to the host of {@code uri} and to no other
     * @return the content type, empty if the server names none
     * @throws HttpStatusException if a server refuses
     * @throws IOException if the download breaks off too often, or the file cannot be written; the message is a sentence
     */
    Optional<String> download(URI uri, Optional<String> authorization, Path target) throws IOException {
        PartFile part = new PartFile(target);
        for (int attempt = 0; attempt <= MAX_RETRIES; attempt++) {
            Optional<String> etag = part.etag();
            long from = etag.isPresent() ? part.size() : 0;
            Answer answer = follow(uri, authorization, from, etag);
            try (InputStream body = answer.response().body()) {
                int status = answer.response().statusCode();
                if (status == 416 || (status == 206 && !continues(answer, from, etag))) {
                    // Our part does not fit the file as it is now.
                    part.restart(Optional.empty());
                    continue;
                }
                if (status == 200) {
                    part.restart(answer.header("ETag"));
                } else if (status != 206) {
                    throw new HttpStatusException(answer.uri(), status);
                }
                if (receive(body, total(answer), part)) {
                    part.complete();
                    return answer.header("Content-Type");
                }
            }
        }
        throw new IOException("The download of " + shown(uri) + " broke off " + (MAX_RETRIES + 1)
                + " times; check the network and run the same command again, it resumes "
                + (part.etag().isPresent() ? "where it stopped." : "from the start, as the server allows no other."));
    }

    /** The address without a query, which may hold a secret. */
    static String shown(URI uri) {
        return uri.getScheme() + "://" + uri.getRawAuthority() + uri.getRawPath();
    }

    static boolean sameOrigin(URI a, URI b) {
        return a.getScheme().equalsIgnoreCase(b.getScheme())
                && a.getHost().equalsIgnoreCase(b.getHost())
                && port(a) == port(b);
    }

    private static int port(URI uri) {
        if (uri.getPort() >= 0) {
            return uri.getPort();
        }
        return uri.getScheme().equalsIgnoreCase("https") ? 443 : 80;
    }

    private Answer follow(URI start, Optional<String> authorization, long from, Optional<String> etag)
            throws IOException {
        URI uri = start;
        Optional<String> credentials = authorization;
        for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
            HttpRequest.Builder request =
                    HttpRequest.newBuilder(uri).timeout(Duration.ofSeconds(60)).header("User-Agent", "drakegpt");
            credentials.ifPresent(value -> request.header("Authorization", value));
            if (from > 0) {
                request.header("Range", "bytes=" + from + "-").header("If-Range", etag.orElseThrow());
            }
            Answer answer = new Answer(uri, send(request.build()));
            if (!REDIRECTS.contains(answer.response().statusCode())) {
                return answer;
            }
            answer.response().body().close();
            URI next = location(answer);
            if (!sameOrigin(uri, next)) {
                credentials = Optional.empty();
            }
            uri = next;
        }
        throw new IOException(
                shown(start) + " redirects more than " + MAX_REDIRECTS + " times; check the address in a browser.");
    }

    private static URI location(Answer answer) throws IOException {
        String location = answer.header("Location").orElse("");
        URI next;
        try {
            next = answer.uri().resolve(new URI(location));
        } catch (URISyntaxException e) {
            throw badRedirect(answer, e);
        }
        boolean web = "https".equalsIgnoreCase(next.getScheme()) || "http".equalsIgnoreCase(next.getScheme());
        boolean downgrade =
                "https".equalsIgnoreCase(answer.uri().getScheme()) && !"https".equalsIgnoreCase(next.getScheme());
        if (location.isEmpty() || !web || downgrade || next.getHost() == null) {
            throw badRedirect(answer, null);
        }
        return next;
    }

    private static IOException badRedirect(Answer answer, Exception cause) {
        return new IOException(
                shown(answer.uri()) + " redirects to no safe web address; check the address in a browser.", cause);
    }

    private HttpResponse<InputStream> send(HttpRequest request) throws IOException {
        try {
            return http.send(request, HttpResponse.BodyHandlers.ofInputStream());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("The download was interrupted; run the same command again.");
        } catch (IOException e) {
            String reason = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
            throw new IOException(
                    "Could not reach " + request.uri().getHost() + " (" + reason
                            + "); check the network and run the same command again.",
                    e);
        }
    }

    /** Whether a partial answer goes on exactly where our part ends, in the same version of the file. */
    private static boolean continues(Answer answer, long from, Optional<String> etag) {
        Matcher range = CONTENT_RANGE.matcher(answer.header("Content-Range").orElse(""));
        Optional<String> sent = answer.header("ETag");
        return from > 0
                && range.matches()
                && Long.parseLong(range.group(1)) == from
                && (sent.isEmpty() || sent.equals(etag));
    }

    private static long total(Answer answer) {
        Matcher range = CONTENT_RANGE.matcher(answer.header("Content-Range").orElse(""));
        if (range.matches()) {
            return range.group(2).equals("*") ? -1 : Long.parseLong(range.group(2));
        }
        return answer.response().headers().firstValueAsLong("Content-Length").orElse(-1);
    }

    /** Appends the response's body to the part; false if it broke off. */
    private boolean receive(InputStream body, long total, PartFile part) throws IOException {
        long done = part.size();
        byte[] buffer = new byte[1 << 16];
        try (FileChannel out = part.append()) {
            while (true) {
                int count;
                try {
                    count = body.read(buffer);
                } catch (IOException e) {
                    // The connection broke: the caller asks for the rest.
                    return false;
                }
                if (count < 0) {
                    break;
                }
                part.write(out, ByteBuffer.wrap(buffer, 0, count));
                done += count;
                listener.progress(done, total);
            }
            out.force(true);
        }
        return total < 0 || done == total;
    }
}
