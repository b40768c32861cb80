package io.github.drakegpt.tracking;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.train.TrainingListener;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** {@code metrics.jsonl}: one JSON object a line, which is a {@link Metrics}. */
public final class MetricsFile implements MetricsSink {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final RunFolder run;
    private FileChannel channel; // open while something is being written, null before

    public MetricsFile(RunFolder run) {
        this.run = run;
    }

    /**
     * The metrics in a file, by ascending steps; empty if there is no such file. Incomplete lines are skipped: the last
     * one of a run that was killed, or is being written.
     */
    public static List<Metrics> read(Path file) throws IOException {
        if (!Files.exists(file)) {
            return List.of();
        }
        if (Files.isDirectory(file)) {
            throw new IOException(file + " is a folder, where a run has its metrics; remove it.");
        }
        TreeMap<Integer, Metrics> metrics = new TreeMap<>();
        new String(Files.readAllBytes(file), StandardCharsets.UTF_8) // a torn file may hold other bytes
                .lines()
                .forEach(line -> parse(line).ifPresent(read -> metrics.put(read.step(), read)));
        return List.copyOf(metrics.values());
    }

    private static Optional<Metrics> parse(String line) {
        try {
            Metrics metrics = JSON.readValue(line, Metrics.class);
            return Optional.ofNullable(metrics).filter(read -> read.step() > 0);
        } catch (JsonProcessingException e) {
            return Optional.empty();
        }
    }

    /** The line of a step, without its end. */
    public static String line(Metrics metrics) {
        try {
            return JSON.writeValueAsString(metrics);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("numbers and text can be written", e);
        }
    }

    /** Drops the lines of steps that will be repeated, and an incomplete one. */
    @Override
    public void start(TrainingListener.Start start) throws IOException {
        close(); // the file is replaced below
        Path file = file();
        if (!Files.exists(file)) {
            return;
        }
        String kept = read(file).stream()
                .filter(metrics -> metrics.step() < start.firstStep())
                .map(metrics -> line(metrics) + '\n')
                .collect(Collectors.joining());
        run.write(RunFolder.METRICS, kept.getBytes(StandardCharsets.UTF_8));
    }

    private Path file() {
        return run.path().resolve(RunFolder.METRICS);
    }

    /** Appends a line; an evaluation's is synced, so that it is there before the checkpoint of the same step. */
    @Override
    public void add(Metrics metrics) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap((line(metrics) + '\n').getBytes(StandardCharsets.UTF_8));
        if (channel == null) {
            channel = run.append(RunFolder.METRICS);
        }
        try {
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
            if (metrics.isEvaluation()) {
                channel.force(true);
            }
        } catch (IOException e) {
            throw AtomicFiles.failed(file(), e);
        }
    }

    @Override
    public void close() throws IOException {
        if (channel != null) {
            channel.close();
            channel = null;
        }
    }
}
