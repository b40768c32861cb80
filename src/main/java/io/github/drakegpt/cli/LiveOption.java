package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.report.LiveServer;
import io.github.drakegpt.tracking.MetricsSink;
import java.io.IOException;
import java.net.BindException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Option;

/** The option that serves a live page of the training. */
final class LiveOption {
    private static final Logger log = LoggerFactory.getLogger(LiveOption.class);
    private static final int PORT = 8642;
    private static final int MAX_PORT = 65_535;

    @Option(
            names = "--live",
            paramLabel = "PORT",
            arity = "0..1",
            fallbackValue = "",
            description = "Show the training on a page of this machine's browser, while it lasts (port: " + PORT
                    + ", or one that is free; 0: any that is free).")
    private String port;

    /**
     * Starts the page's server, and logs its address.
     *
     * @return null if it was not asked for
     * @throws IllegalArgumentException if the port that was asked for is none, or cannot be had
     */
    LiveServer serve() throws IOException {
        if (port == null) {
            return null;
        }
        LiveServer server = port.isEmpty() ? onUsualPort() : onPort(number());
        log.info("Live page: {}", server.uri());
        return server;
    }

    /**
     * The sinks that send a run's metrics to the page.
     *
     * @param server null if there is no page
     */
    static MetricsSink[] sinks(LiveServer server, RunFolder run) {
        return server == null ? new MetricsSink[0] : new MetricsSink[] {server.show(run.path())};
    }

    private static LiveServer onUsualPort() throws IOException {
        try {
            return new LiveServer(PORT);
        } catch (BindException e) {
            LiveServer server = new LiveServer(0);
            log.info("Port {} is taken, the live page is on {}", PORT, server.port());
            return server;
        }
    }

    private static LiveServer onPort(int number) throws IOException {
        try {
            return new LiveServer(number);
        } catch (BindException e) {
            throw new IllegalArgumentException(
                    "Port " + number + " cannot be had (" + e.getMessage() + "); give another, or --live alone.", e);
        }
    }

    private int number() {
        try {
            int number = Integer.parseInt(port);
            if (number >= 0 && number <= MAX_PORT) {
                return number;
            }
        } catch (NumberFormatException e) {
            // said below
        }
        throw new IllegalArgumentException("--live takes a port from 0 to " + MAX_PORT + ", not '" + port + "'.");
    }
}
