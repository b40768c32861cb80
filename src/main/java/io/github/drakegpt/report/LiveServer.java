package io.github.drakegpt.report;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import io.github.drakegpt.tracking.MetricsSink;
import io.github.drakegpt.train.TrainingListener;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Shows runs while they are trained: {@code GET /} is the report's page, {@code GET /events} the server-sent events
 * that fill it. A client first gets {@code report}, with the content of the run folders, then {@code metrics} for each
 * line that is recorded from then on, and {@code end}.
 *
 * <p>Only programs of this machine can connect. A browser also runs pages of other sites, so their requests are
 * refused: requests under another host's name (DNS can be made to point it at this machine), and requests from another
 * origin.
 *
 * <p>Training never waits for a client. Each has a thread and a queue of its own; one that reads too slowly is
 * disconnected when its queue is full, and gets everything when it connects again. Clients that send half a request do
 * not keep others from theirs: see {@link RequestThreads}.
 */
public final class LiveServer implements AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(LiveServer.class);

    private static final Duration HEARTBEAT = Duration.ofSeconds(15);
    private static final Duration FAREWELL = Duration.ofSeconds(3); // for clients to be sent the end
    private static final int RETRY_MILLIS = 2000;
    private static final int MAX_QUEUED = 1024;
    private static final int MAX_CLIENTS = 32;
    private static final int MAX_REQUESTS = 32; // besides
    private static final Duration REQUEST_LIMIT = Duration.ofSeconds(10);

    private static final String FAILED = "it has failed.";

    private static final Map<String, String> HEADERS = Map.of(
            "Cache-Control", "no-store",
            "Content-Security-Policy", "frame-ancestors 'none'", // the rest is in the page
            "Cross-Origin-Opener-Policy", "same-origin",
            "Cross-Origin-Resource-Policy", "same-origin",
            "Referrer-Policy", "no-referrer",
            "X-Content-Type-Options", "nosniff",
            "X-Frame-Options", "DENY");

    /** An event for clients; a report is read when the first client gets to it. */
    private record Event(String name, int run, int step, String data, Report report) {
        Event(String name, int run, int step, String data) {
            this(name, run, step, data, null);
        }

        Event(Report report) {
            this("report", 0, 0, null, report);
        }
    }

    private final HttpServer server;
    private final RequestThreads threads;
    private final Duration heartbeat;
    private final byte[] page = ReportPage.live();
    private final Set<String> hosts;

    private final Set<Client> clients = new HashSet<>(); // also the lock of the fields below
    private final List<Path> runs = new ArrayList<>();
    private String ending = FAILED;
    private boolean closed;

    /**
     * Serves from now on.
     *
     * @param port 0: any that is free
     * @throws BindException if the port is taken, or not for this user
     */
    public LiveServer(int port) throws IOException {
        this(port, HEARTBEAT, REQUEST_LIMIT);
    }

    LiveServer(int port, Duration heartbeat, Duration requestLimit) throws IOException {
        this.heartbeat = heartbeat;
        server = HttpServer.create(
                new InetSocketAddress(InetAddress.getByAddress("localhost", new byte[] {127, 0, 0, 1}), port), 0);
        String suffix = port() == 80 ? "" : ":" + port();
        hosts = Set.of("localhost" + suffix, "127.0.0.1" + suffix, "[::1]" + suffix);
        threads = new RequestThreads(MAX_REQUESTS, requestLimit, task -> daemon(task, "drakegpt-live"));
        server.setExecutor(threads);
        server.createContext("/", this::handle);
        start();
    }

    /** Starts the server on a daemon thread, whose status the server's own thread inherits. */
    private void start() throws IOException {
        Thread starter = daemon(server::start, "drakegpt-live-start");
        starter.start();
        try {
            starter.join();
        } catch (InterruptedException e) {
            server.stop(0);
            Thread.currentThread().interrupt();
            throw new InterruptedIOException(
                    "Interrupted while the live page was being started; run the command again.");
        }
    }

    private static Thread daemon(Runnable task, String name) {
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        return thread;
    }

    public int port() {
        return server.getAddress().getPort();
    }

    /** The address of the page. */
    public URI uri() {
        return URI.create("http://localhost:" + port() + "/");
    }

    /**
     * Shows a run, besides those that are already shown.
     *
     * @param folder of the run
     * @return receives the run's metrics, each after it was written to {@code metrics.jsonl}
     */
    public MetricsSink show(Path folder) {
        synchronized (clients) {
            runs.add(folder);
            tell(new Event(new Report()));
            return new Sink(runs.size() - 1);
        }
    }

    private final class Sink implements MetricsSink {
        private final int run;

        Sink(int run) {
            this.run = run;
        }

        /** Sends a new report, without the steps that will be repeated. */
        @Override
        public void start(TrainingListener.Start start) {
            synchronized (clients) {
                ending = FAILED; // until its end is reported; replaces that of an earlier run
            }
            tell(new Event(new Report()));
        }

        @Override
        public void add(Metrics metrics) {
            tell(new Event(
                    "metrics",
                    run,
                    metrics.step(),
                    "{\"run\":" + run + ",\"metrics\":" + MetricsFile.line(metrics) + "}"));
        }

        @Override
        public void end(TrainingResult result) {
            String reason = String.format(
                    Locale.ROOT,
                    switch (result.end()) {
                        case COMPLETED -> "all %,d steps are done.";
                        case OUT_OF_PATIENCE -> "stopped early at step %,d: no lower val loss since step %,d.";
                        case INTERRUPTED -> "interrupted at step %,d; it can be resumed.";
                    },
                    result.state().step(),
                    result.state().bestStep());
            synchronized (clients) {
                ending = reason;
            }
        }
    }

    private void tell(Event event) {
        synchronized (clients) {
            clients.forEach(client -> client.offer(event));
        }
    }

    /** Ends every connection, after telling its client that training has ended. */
    @Override
    public void close() {
        synchronized (clients) {
            if (closed) {
                return;
            }
            closed = true;
            String data =
                    JsonNodeFactory.instance.objectNode().put("reason", ending).toString();
            tell(new Event(new Report())); // the last checkpoint was saved after the last line
            tell(new Event("end", 0, 0, data));
            long deadline = System.nanoTime() + FAREWELL.toNanos();
            try {
                for (long left = FAREWELL.toMillis(); !clients.isEmpty() && left > 0; ) {
                    clients.wait(left);
                    left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt(); // do not wait: the program was asked to stop
            }
            clients.forEach(Client::drop);
        }
        server.stop(0);
        threads.close();
    }

    /** Connections for events that are open. */
    int clients() {
        synchronized (clients) {
            return clients.size();
        }
    }

    // -------------------------------------------------------------------------------------------------- requests

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            HEADERS.forEach(exchange.getResponseHeaders()::set);
            String path = exchange.getRequestURI().getRawPath();
            if (!isAllowed(exchange)) {
                answer(
                        exchange,
                        403,
                        "Only this server's own page may ask, as http://localhost:" + port()
                                + "/: forwarded from another machine, the port must be the same there.\n");
            } else if (exchange.getRequestURI().isAbsolute()
                    || !Set.of("/", "/events").contains(path)) {
                answer(exchange, 404, "There is nothing here but /.\n");
            } else if (!exchange.getRequestMethod().equals("GET")) {
                exchange.getResponseHeaders().set("Allow", "GET");
                answer(exchange, 405, "Only GET is possible.\n");
            } else if (path.equals("/")) {
                answer(exchange, 200, "text/html", page);
            } else {
                sendEvents(exchange);
            }
        }
    }

    /** Whether a request comes from a page of this server, from a user, or from a program that is not a browser. */
    private boolean isAllowed(HttpExchange exchange) {
        Headers headers = exchange.getRequestHeaders();
        List<String> host = headers.getOrDefault("Host", List.of());
        if (host.size() != 1 || !hosts.contains(host.get(0).toLowerCase(Locale.ROOT))) {
            return false;
        }
        String origin = headers.getFirst("Origin");
        if (origin != null && !origin.equalsIgnoreCase("http://" + host.get(0))) {
            return false;
        }
        String site = headers.getFirst("Sec-Fetch-Site");
        boolean ownPage = site == null || site.equals("same-origin") || site.equals("none");
        boolean followedLink = "navigate".equals(headers.getFirst("Sec-Fetch-Mode"))
                && "document".equals(headers.getFirst("Sec-Fetch-Dest"))
                && exchange.getRequestURI().toString().equals("/");
        return ownPage || followedLink;
    }

    private static void answer(HttpExchange exchange, int code, String sentence) throws IOException {
        answer(exchange, code, "text/plain", sentence.getBytes(StandardCharsets.UTF_8));
    }

    private static void answer(HttpExchange exchange, int code, String type, byte[] body) throws IOException {
        exchange.getResponseHeaders().set("Content-Type", type + "; charset=utf-8");
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(code, head ? -1 : body.length);
        if (!head) {
            exchange.getResponseBody().write(body);
        }
    }

    // ---------------------------------------------------------------------------------------------------- events

    private void sendEvents(HttpExchange exchange) throws IOException {
        Client client = new Client();
        synchronized (clients) {
            if (!closed && clients.size() < MAX_CLIENTS) {
                client.offer(new Event(new Report()));
                clients.add(client); // before the report is read: lines recorded meanwhile are in the queue
            }
        }
        try {
            if (client.queue.isEmpty()) {
                answer(exchange, 503, "Too many pages are open; close some.\n");
            } else {
                threads.takeTime();
                exchange.getResponseHeaders().set("Content-Type", "text/event-stream; charset=utf-8");
                exchange.sendResponseHeaders(200, 0);
                client.send(exchange.getResponseBody());
            }
        } catch (InterruptedException e) {
            log.debug("A client of the live page was too slow", e); // or it is the end
        } finally {
            exchange.close(); // a thread that was interrupted does not wait for the client here either
            synchronized (clients) {
                clients.remove(client);
                clients.notifyAll();
            }
            client.leave();
        }
    }

    /** The content of the run folders, read once for all clients that are waiting for it. */
    private final class Report {
        private String data; // null until it was read
        private List<Integer> lastSteps; // of each run

        synchronized void read() throws IOException {
            if (data != null) {
                return;
            }
            List<Path> folders;
            synchronized (clients) {
                folders = List.copyOf(runs);
            }
            try {
                List<RunReport> reports = RunReport.read(folders);
                lastSteps = reports.stream()
                        .map(RunReport::metrics)
                        .map(metrics -> metrics.isEmpty()
                                ? 0
                                : metrics.get(metrics.size() - 1).step())
                        .toList();
                data = ReportPage.data(reports);
            } catch (ClosedByInterruptException e) {
                throw e; // this thread's client is being dropped
            } catch (IOException e) {
                log.warn("The live page cannot be filled: {}", e.getMessage());
                throw e;
            }
        }
    }

    /** A connection that is sent events; its thread is the one that made it. */
    private final class Client {
        private final Thread thread = Thread.currentThread();
        private final BlockingQueue<Event> queue = new ArrayBlockingQueue<>(MAX_QUEUED);
        private boolean gone;
        private List<Integer> lastSteps; // of each run in the last report that was sent

        void offer(Event event) {
            if (!queue.offer(event)) {
                drop();
            }
        }

        /**
         * Interrupts its thread, which also ends a write that waits for the client, since an interrupt closes the
         * channel.
         */
        synchronized void drop() {
            if (!gone) {
                thread.interrupt();
            }
        }

        /** Releases its thread to serve others. */
        synchronized void leave() {
            gone = true;
            Thread.interrupted();
        }

        void send(OutputStream out) throws IOException, InterruptedException {
            write(out, "retry: " + RETRY_MILLIS + "\n\n");
            while (true) {
                Event event = queue.poll(heartbeat.toMillis(), TimeUnit.MILLISECONDS);
                if (event == null) {
                    write(out, ":\n\n"); // a comment: fails if the client is gone
                } else if (event.report() != null) {
                    event.report().read();
                    lastSteps = event.report().lastSteps;
                    write(out, event.name(), event.report().data);
                } else if (event.name().equals("end")) {
                    write(out, event.name(), event.data());
                    return;
                } else if (event.step() > lastSteps.get(event.run())) { // else it was in the report
                    write(out, event.name(), event.data());
                }
            }
        }

        private void write(OutputStream out, String name, String data) throws IOException {
            write(out, "event: " + name + "\ndata: " + data + "\n\n");
        }

        private void write(OutputStream out, String text) throws IOException {
            out.write(text.getBytes(StandardCharsets.UTF_8));
            out.flush();
        }
    }
}
