package io.github.drakegpt.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** One request to the live server, byte by byte: with headers that no HTTP library would send. */
public final class LiveClient implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Socket socket;
    private final InputStream in;
    private final StringBuilder received = new StringBuilder(); // of events, not yet taken
    private final int status;
    private final Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);

    /** A server-sent event. */
    public record Event(String name, JsonNode data) {}

    /** Sends a request and reads the head of the answer. */
    public LiveClient(int port, String method, String target, String... headerLines) throws IOException {
        socket = new Socket(InetAddress.getByName("127.0.0.1"), port);
        in = new BufferedInputStream(socket.getInputStream());
        StringBuilder request = new StringBuilder(method + " " + target + " HTTP/1.1\r\n");
        for (String line : headerLines) {
            request.append(line).append("\r\n");
        }
        socket.getOutputStream().write(request.append("\r\n").toString().getBytes(StandardCharsets.ISO_8859_1));
        status = Integer.parseInt(line().split(" ")[1]);
        for (String line = line(); !line.isEmpty(); line = line()) {
            headers.put(
                    line.substring(0, line.indexOf(':')),
                    line.substring(line.indexOf(':') + 1).strip());
        }
    }

    /** Asks for the events, as a program does that is no browser. */
    public static LiveClient events(int port) throws IOException {
        return new LiveClient(port, "GET", "/events", "Host: localhost:" + port);
    }

    public int status() {
        return status;
    }

    public Map<String, String> headers() {
        return headers;
    }

    public byte[] body() throws IOException {
        return in.readNBytes(Integer.parseInt(headers.get("Content-Length")));
    }

    /** The next event; empty when the server has ended the answer. Heartbeats are passed over. */
    public Optional<Event> next() throws IOException {
        while (true) {
            Optional<String> block = block();
            if (block.isEmpty()) {
                return Optional.empty();
            }
            List<String> lines = block.get().lines().toList();
            if (lines.get(0).startsWith("event: ")) {
                String data = lines.get(1).substring("data: ".length());
                return Optional.of(new Event(lines.get(0).substring("event: ".length()), JSON.readTree(data)));
            }
        }
    }

    /** What is sent up to the next empty line. */
    public Optional<String> block() throws IOException {
        int end;
        while ((end = received.indexOf("\n\n")) < 0) {
            int size = Integer.parseInt(line(), 16); // of the next chunk
            received.append(new String(in.readNBytes(size), StandardCharsets.UTF_8)); // events are flushed whole
            line();
            if (size == 0) {
                return Optional.empty();
            }
        }
        String block = received.substring(0, end);
        received.delete(0, end + 2);
        return Optional.of(block);
    }

    /** The steps of a run, as a page has them that takes the events in order; up to one. */
    public List<Integer> steps(int run, int last) throws IOException {
        List<Integer> steps = new ArrayList<>();
        while (steps.isEmpty() || steps.get(steps.size() - 1) < last) {
            Event event = next().orElseThrow();
            if (event.name().equals("report")) {
                steps.clear();
                event.data().at("/runs/" + run + "/steps/step").forEach(step -> steps.add(step.asInt()));
            } else if (event.data().path("run").asInt() == run) {
                steps.add(event.data().at("/metrics/step").asInt());
            }
        }
        return steps;
    }

    private String line() throws IOException {
        StringBuilder line = new StringBuilder();
        for (int c = in.read(); c != '\n'; c = in.read()) {
            if (c < 0) {
                throw new EOFException("the server has closed the connection");
            }
            line.append((char) c);
        }
        return line.toString().stripTrailing();
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
