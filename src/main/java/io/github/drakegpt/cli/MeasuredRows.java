package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.DeviceException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Measurements of a device. As JSON each row is a line that is printed at once, so that a later failure cannot lose it.
 * A measurement that fails is also a row, with the field {@code error}, and the others go on.
 */
final class MeasuredRows {
    private static final Logger log = LoggerFactory.getLogger(MeasuredRows.class);

    private final boolean json;
    private final List<ObjectNode> rows = new ArrayList<>();
    private boolean failed;

    /** @param json whether to print lines of JSON, {@code header} first */
    MeasuredRows(boolean json, ObjectNode header) {
        this.json = json;
        print(header);
    }

    /** Program, machine and time of the measurements. */
    static ObjectNode header(Backend backend, DeviceOptions device) throws IOException {
        ObjectNode header = JsonNodeFactory.instance.objectNode();
        header.put("drakegpt", Main.version())
                .put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        ObjectNode machine = header.putObject("machine");
        Machine.facts().forEach(machine::put);
        header.put("device", backend.name() + ", " + backend.description())
                .put("precision", backend.precision().label());
        ObjectNode libraries = header.putObject("libraries");
        device.facts(backend).forEach(libraries::put);
        return header;
    }

    void add(ObjectNode row) {
        rows.add(row);
        print(row);
    }

    /**
     * Adds a measurement that failed.
     *
     * @param row the fields that name it
     * @throws DeviceException the failure, if nothing can be measured on the device any more
     */
    void addFailed(ObjectNode row, Throwable failure) {
        failed = true;
        String name = StreamSupport.stream(row.spliterator(), false)
                .map(JsonNode::asText)
                .collect(Collectors.joining(" "));
        print(row.put("error", Main.sentence(failure)));
        if (failure instanceof DeviceException e && e.lost()) {
            throw e;
        }
        log.warn("{} was not measured: {}", name, Main.sentence(failure));
    }

    /** The measured rows. */
    List<ObjectNode> rows() {
        return rows;
    }

    /** The exit code of the command: 1 if a measurement failed. */
    int exitCode() {
        return failed ? 1 : 0;
    }

    private void print(ObjectNode line) {
        if (json) {
            System.out.println(line);
            if (System.out.checkError()) { // flushes; nobody reads on
                throw new UncheckedIOException(new IOException(Main.OUTPUT_CLOSED));
            }
        }
    }
}
