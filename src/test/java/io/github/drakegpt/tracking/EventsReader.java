package io.github.drakegpt.tracking;

import com.google.protobuf.InvalidProtocolBufferException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.tensorflow.framework.Summary;
import org.tensorflow.framework.TensorProto;
import org.tensorflow.util.Event;
import org.tensorflow.util.SessionLog;

/**
 * Reads TensorBoard's events with TensorFlow's own classes of the messages, and a CRC-32C by its definition: nothing that
 * writes them has a part in it.
 */
public final class EventsReader {
    private EventsReader() {}

    /** The events of a file, all of which must be whole. */
    public static List<Event> read(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        List<Event> events = new ArrayList<>();
        if (readWhole(bytes, events) != bytes.length) {
            throw new EOFException(file + " ends within an event");
        }
        return events;
    }

    /**
     * Reads events up to the end, or to one that is not there to its end.
     *
     * @return how many bytes they take
     * @throws InvalidProtocolBufferException if a checksum or a message is wrong
     */
    static int readWhole(byte[] bytes, List<Event> events) throws InvalidProtocolBufferException {
        ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int end = 0;
        while (buffer.remaining() >= 12) {
            long length = buffer.getLong();
            requireChecksum(buffer.getInt(), Arrays.copyOfRange(bytes, end, end + 8));
            if (buffer.remaining() < length + 4) {
                break;
            }
            byte[] data = new byte[(int) length];
            buffer.get(data);
            requireChecksum(buffer.getInt(), data);
            events.add(Event.parseFrom(data));
            end = buffer.position();
        }
        return end;
    }

    private static void requireChecksum(int masked, byte[] data) throws InvalidProtocolBufferException {
        int crc = Integer.rotateLeft(masked - 0xa282ead8, 15);
        if (crc != crc32c(data)) {
            throw new InvalidProtocolBufferException("wrong checksum");
        }
    }

    /** CRC-32C bit by bit: the polynomial 0x1EDC6F41, here reflected, of RFC 3720. */
    static int crc32c(byte[] data) {
        int crc = -1;
        for (byte value : data) {
            crc ^= value & 0xff;
            for (int bit = 0; bit < 8; bit++) {
                crc = crc >>> 1 ^ ((crc & 1) == 0 ? 0 : 0x82f63b78);
            }
        }
        return ~crc;
    }

    /**
     * What TensorBoard shows of a run's files: tag, step, value. Where a session starts at a step, what came before it of this
     * step and later ones is dropped, and so is what a killed process has left half written, as its EventAccumulator does it.
     */
    public static Map<String, TreeMap<Long, Object>> shown(List<Path> files) throws IOException {
        Map<String, TreeMap<Long, Object>> tags = new TreeMap<>();
        for (Path file : files) {
            List<Event> events = new ArrayList<>();
            readWhole(Files.readAllBytes(file), events);
            for (Event event : events) {
                if (event.getSessionLog().getStatus() == SessionLog.SessionStatus.START) {
                    tags.values()
                            .forEach(steps -> steps.tailMap(event.getStep()).clear());
                }
                for (Summary.Value value : event.getSummary().getValueList()) {
                    Object before = tags.computeIfAbsent(value.getTag(), tag -> new TreeMap<>())
                            .put(event.getStep(), value.hasTensor() ? text(value) : (Object) value.getSimpleValue());
                    if (before != null) {
                        throw new IllegalStateException(value.getTag() + " has step " + event.getStep() + " twice");
                    }
                }
            }
        }
        return tags;
    }

    /** The text that Markdown shows as it is, between fences of backticks that it does not have itself. */
    static String text(Summary.Value value) {
        TensorProto tensor = value.getTensor();
        if (tensor.getStringValCount() != 1) {
            throw new IllegalStateException(value.getTag() + " is no single text");
        }
        String markdown = new String(tensor.getStringVal(0).toByteArray(), StandardCharsets.UTF_8);
        String fence = markdown.substring(0, Math.max(0, markdown.indexOf('\n')));
        if (!fence.matches("`{3,}") || !markdown.endsWith("\n" + fence)) {
            throw new IllegalStateException(value.getTag() + " is no block of code: " + markdown);
        }
        String text = markdown.substring(fence.length() + 1, markdown.length() - fence.length() - 1);
        if (text.contains(fence)) {
            throw new IllegalStateException(value.getTag() + " ends within: " + markdown);
        }
        return text;
    }
}
