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
 * continues a download that broke off, now or at the next call. No server can fill the disk or keep it waiting.
 */
final class Downloader {
    private static final int MEGABYTE = 1 << 20;
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final int MIN_BYTES = 60_000; // within that time, unless the file ends
    private static final int MAX_REDIRECTS = 10;
    private static final int MAX_RETRIES = 3;
    private static final Set<Integer> REDIRECTS = Set.of(301, 302, 303, 307, 308);
    private static final Pattern CONTENT_RANGE = Pattern.compile("bytes (\\d{1,18})-\\d+/(\\d+|\\*)");

    private final HttpClient http = HttpClient.newBuilder()
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(Duration.ofSeconds(30))
            .build();
    private final int maxMegabytes;
    private final Duration patience;
    private final DownloadListener listener;

    /**
     * A downloader with limits.
     *
     * @param maxMegabytes the largest file that is taken, in units of 2^20 bytes
     */
    Downloader(int maxMegabytes, DownloadListener listener) {
        this(maxMegabytes, PATIENCE, listener);
    }

    Downloader(int maxMegabytes, Duration patience, DownloadListener listener) {
        this.maxMegabytes = maxMegabytes;
        this.patience = patience;
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
     * @throws IOException if the download breaks off too often, is too large or too slow, or the file cannot be written;
     *     the message is a sentence
     */
    Optional<String> download(URI uri, Optional<String> authorization, Path target) throws IOException {
        PartFile part = new PartFile(target);
        try {
            return download(uri, authorization, part);
        } finally {
            if (part.etag().isEmpty()) {
                part.restart(Optional.empty()); // nobody could continue it
            }
        }
    }

    private Optional<String> download(URI uri, Optional<String> authorization, PartFile part) throws IOException {
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
                if (receive(answer, body, part)) {
                    part.complete();
                    return answer.header("Content-Type");
                }
            }
        }
        throw new IOException("The download of " + shown(uri) + " broke off " + (MAX_RETRIES + 1)
                + " times; check the network and run the same command again, it resumes "
                + (part.etag().isPresent() ? "where it stopped." : "from the start, as the server allows no other."));
    }

    /** The address without a user, password and query, which may be secrets. */
    static String shown(URI uri) {
        String port = uri.getPort() < 0 ? "" : ":" + uri.getPort();
        return uri.getScheme() + "://" + uri.getHost() + port + uri.getRawPath();
    }

    /** Whether an address names a host, on a port that there is. */
    static boolean hasHost(URI uri) {
        return uri.getHost() != null && uri.getPort() < 1 << 16;
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
        if (location.isEmpty() || !web || downgrade || !hasHost(next)) {
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
        } catch (IllegalArgumentException e) { // of HttpClient, about numbers in headers
            throw new IOException(
                    shown(request.uri()) + " answers with damaged headers; check the address in a browser.", e);
        } catch (IOException e) {
            String reason = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
            throw new IOException(
                    "Could not reach " + request.uri().getHost() + " (" + CharTokenizer.printable(reason)
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

    /** Bytes of the whole file, -1 if the server does not say. */
    private static long total(Answer answer) {
        Matcher range = CONTENT_RANGE.matcher(answer.header("Content-Range").orElse(""));
        String total = range.matches()
                ? range.group(2)
                : answer.header("Content-Length").orElse("*");
        if (!total.matches("\\d+")) {
            return -1;
        }
        return total.length() > 18 ? Long.MAX_VALUE : Long.parseLong(total);
    }

    /** Appends the response's body to the part; false if it broke off. */
    private boolean receive(Answer answer, InputStream body, PartFile part) throws IOException {
        long total = total(answer);
        long done = part.size();
        checkSize(Math.max(done, total), answer, part);
        byte[] buffer = new byte[1 << 16];
        try (FileChannel out = part.append();
                SlowBody slow = new SlowBody(body, MIN_BYTES, patience)) {
            while (true) {
                int count;
                try {
                    count = slow.read(buffer);
                } catch (SlowBody.TooSlowException e) {
                    throw new IOException(
                            shown(answer.uri()) + " sent less than " + MIN_BYTES + " bytes in " + patience.toSeconds()
                                    + " seconds; run the same command again later.",
                            e);
                } catch (IOException e) {
                    // The connection broke: the caller asks for the rest.
                    return false;
                }
                if (count < 0) {
                    break;
                }
                done += count;
                checkSize(done, answer, part);
                part.write(out, ByteBuffer.wrap(buffer, 0, count));
                listener.progress(done, total);
            }
            out.force(true);
        }
        return total < 0 || done == total;
    }

    private void checkSize(long bytes, Answer answer, PartFile part) throws IOException {
        if (bytes > (long) maxMegabytes * MEGABYTE) {
            part.restart(Optional.empty());
            throw new IOException(shown(answer.uri()) + " is larger than " + maxMegabytes
                    + " MB; if it is the right file, allow more with --max-download.");
        }
    }
}
