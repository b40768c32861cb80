package io.github.drakegpt.data;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A web server on loopback that keeps the headers of every request. */
final class TestServer implements AutoCloseable {
    private final HttpServer server;
    private final List<Headers> requests = new CopyOnWriteArrayList<>();

    TestServer(HttpHandler handler) throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", exchange -> {
            requests.add(exchange.getRequestHeaders());
            try (exchange) {
                handler.handle(exchange);
            }
        });
        server.start();
    }

    URI uri(String path) {
        return URI.create("http://127.0.0.1:" + server.getAddress().getPort() + path);
    }

    /** The same server under its other name. */
    URI localhost(String path) {
        return URI.create("http://localhost:" + server.getAddress().getPort() + path);
    }

    int count() {
        return requests.size();
    }

    /** A header of a request, null if it was not sent. */
    String header(int request, String name) {
        return requests.get(request).getFirst(name);
    }

    static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
        exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
        exchange.getResponseBody().write(body);
    }

    /** Sends only the first {@code sent} bytes of the body from {@code from} on, then hangs up. */
    static void cutOff(HttpExchange exchange, int status, byte[] body, int from, int sent) throws IOException {
        exchange.sendResponseHeaders(status, body.length - from);
        exchange.getResponseBody().write(body, from, sent);
        exchange.getResponseBody().flush();
    }

    /** The rest of the file that a Range header asks for, as a server that supports them answers. */
    static void answerRange(HttpExchange exchange, byte[] body, String etag) throws IOException {
        int from = rangeStart(exchange);
        exchange.getResponseHeaders().set("ETag", etag);
        exchange.getResponseHeaders()
                .set("Content-Range", "bytes " + from + "-" + (body.length - 1) + "/" + body.length);
        exchange.sendResponseHeaders(206, body.length - from);
        exchange.getResponseBody().write(body, from, body.length - from);
    }

    static int rangeStart(HttpExchange exchange) {
        return Integer.parseInt(exchange.getRequestHeaders().getFirst("Range").replaceAll("bytes=(\\d+)-", "$1"));
    }

    static void redirect(HttpExchange exchange, String location) throws IOException {
        exchange.getResponseHeaders().set("Location", location);
        exchange.sendResponseHeaders(302, -1);
    }

    @Override
    public void close() {
        server.stop(0);
    }
}
