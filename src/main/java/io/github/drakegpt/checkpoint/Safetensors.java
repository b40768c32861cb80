package io.github.drakegpt.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.data.GitLfs;
import io.github.drakegpt.data.Sha256;
import io.github.drakegpt.tensor.Shape;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Reads and writes the safetensors format: a length (u64 little endian), a JSON header that gives each tensor's type,
 * shape and place, then the tensors' bytes without gaps (huggingface.co/docs/safetensors).
 *
 * <p>Reading checks everything that the format promises before a single number is used: the header's length, the JSON,
 * types, shapes, and that the tensors cover the data exactly once.
 */
public final class Safetensors {
    private static final String METADATA = "__metadata__";
    private static final int LENGTH_BYTES = 8;
    private static final long MAX_HEADER = 100_000_000;
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    /**
     * A tensor to be written.
     *
     * @param content puts its elements into a buffer that has room for exactly these
     */
    public record Source(String name, ElementType dtype, Shape shape, Consumer<ByteBuffer> content) {
        /** F32: {@code shape.size()} elements of {@code values} from {@code offset} on. */
        public Source(String name, Shape shape, float[] values, int offset) {
            this(name, ElementType.F32, shape, values, offset);
        }

        /** The same, rounded to a type of floating point. */
        Source(String name, ElementType dtype, Shape shape, float[] values, int offset) {
            this(name, dtype, shape, buffer -> dtype.put(buffer, values, offset, Math.toIntExact(shape.size())));
        }

        /** U8: all of {@code values}. */
        public Source(String name, Shape shape, byte[] values) {
            this(name, ElementType.U8, shape, buffer -> buffer.put(values));
        }

        private int size() {
            return Math.toIntExact(dtype.bytes() * shape.size());
        }

        /** Its elements, little endian. */
        ByteBuffer bytes() {
            ByteBuffer bytes = ByteBuffer.allocate(size()).order(ByteOrder.LITTLE_ENDIAN);
            content.accept(bytes);
            return bytes;
        }
    }

    private record Location(ElementType dtype, Shape shape, long begin, long end) {}

    private final Path file;
    private final ByteBuffer data;
    private final Map<String, String> metadata = new LinkedHashMap<>();
    private final Map<String, Location> tensors = new LinkedHashMap<>();

    private Safetensors(Path file, ByteBuffer data) {
        this.file = file;
        this.data = data;
    }

    // ---------------------------------------------------------------------------------------------- writing

    /** Writes a whole file into a stream. */
    public static void write(OutputStream out, Map<String, String> metadata, List<Source> tensors) throws IOException {
        ObjectNode header = JSON.createObjectNode();
        ObjectNode meta = header.putObject(METADATA);
        metadata.forEach(meta::put);
        long offset = 0;
        for (Source tensor : tensors) {
            ObjectNode node = header.putObject(tensor.name());
            node.put("dtype", tensor.dtype().name());
            var shape = node.putArray("shape");
            for (int i = 0; i < tensor.shape().rank(); i++) {
                shape.add(tensor.shape().dim(i));
            }
            long end = offset + tensor.size();
            node.putArray("data_offsets").add(offset).add(end);
            offset = end;
        }
        byte[] json = JSON.writeValueAsBytes(header);
        // spaces at the end put the data at a multiple of 8 bytes
        int padded = (json.length + LENGTH_BYTES - 1) / LENGTH_BYTES * LENGTH_BYTES;
        out.write(ByteBuffer.allocate(LENGTH_BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(padded)
                .array());
        out.write(json);
        out.write(" ".repeat(padded - json.length).getBytes(StandardCharsets.US_ASCII));
        for (Source tensor : tensors) {
            out.write(tensor.bytes().array());
        }
    }

    // ---------------------------------------------------------------------------------------------- reading

    /** Whether a file that begins with these bytes may be one: its header is a JSON object. */
    static boolean is(byte[] beginning) {
        return beginning.length > LENGTH_BYTES && beginning[LENGTH_BYTES] == '{';
    }

    /**
     * Reads a whole file.
     *
     * @throws CorruptFileException if it does not follow the format exactly
     * @throws IOException if it cannot be read, or is a pointer of Git LFS
     */
    public static Safetensors read(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        if (GitLfs.isPointer(bytes)) {
            throw new IOException(GitLfs.message(file.toString()));
        }
        if (bytes.length < LENGTH_BYTES) {
            throw new CorruptFileException(
                    file,
                    "it has " + bytes.length + " bytes, fewer than the " + LENGTH_BYTES + " it begins with",
                    null);
        }
        ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        long length = buffer.getLong();
        if (length < 2 || length > MAX_HEADER || length > bytes.length - LENGTH_BYTES) {
            throw new CorruptFileException(
                    file,
                    "its header claims " + Long.toUnsignedString(length) + " bytes in a file of " + bytes.length,
                    null);
        }
        int dataStart = LENGTH_BYTES + (int) length;
        Safetensors result = new Safetensors(
                file, buffer.slice(dataStart, bytes.length - dataStart).order(ByteOrder.LITTLE_ENDIAN));
        JsonNode header;
        try {
            // by itself, the parser would also accept UTF-16 and UTF-32
            header = JSON.readTree(StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes, LENGTH_BYTES, (int) length))
                    .toString());
        } catch (JsonProcessingException | CharacterCodingException e) {
            throw new CorruptFileException(file, "its header is not valid JSON", e);
        }
        result.parse(header);
        return result;
    }

    private void parse(JsonNode header) throws CorruptFileException {
        if (!header.isObject()) {
            throw new CorruptFileException(file, "its header is not a JSON object", null);
        }
        for (Map.Entry<String, JsonNode> field : header.properties()) {
            if (field.getKey().equals(METADATA)) {
                parseMetadata(field.getValue());
            } else {
                tensors.put(field.getKey(), location(field.getKey(), field.getValue()));
            }
        }
        List<Map.Entry<String, Location>> ordered = new ArrayList<>(tensors.entrySet());
        ordered.sort(Comparator.comparingLong(
                        (Map.Entry<String, Location> e) -> e.getValue().begin())
                .thenComparingLong(e -> e.getValue().end()));
        long covered = 0;
        for (Map.Entry<String, Location> entry : ordered) {
            if (entry.getValue().begin() != covered) {
                throw new CorruptFileException(
                        file,
                        "the data of tensor " + entry.getKey() + " "
                                + (entry.getValue().begin() < covered ? "overlaps" : "leaves a gap after")
                                + " that of the one before it",
                        null);
            }
            covered = entry.getValue().end();
        }
        if (covered != data.capacity()) {
            throw new CorruptFileException(
                    file, "it holds " + data.capacity() + " bytes of data where its header names " + covered, null);
        }
    }

    private void parseMetadata(JsonNode node) throws CorruptFileException {
        boolean valid = node.isObject();
        for (Map.Entry<String, JsonNode> entry : node.properties()) {
            valid &= entry.getValue().isTextual();
            metadata.put(entry.getKey(), entry.getValue().asText());
        }
        if (!valid) {
            throw new CorruptFileException(file, "its " + METADATA + " are not texts", null);
        }
    }

    private Location location(String name, JsonNode node) throws CorruptFileException {
        String dtype = node.path("dtype").asText();
        ElementType type = ElementType.of(dtype)
                .orElseThrow(() -> new CorruptFileException(
                        file, "tensor " + name + " has the unknown type '" + dtype + "'", null));
        JsonNode dims = node.path("shape");
        boolean valid = dims.isArray();
        int[] shape = new int[valid ? dims.size() : 0];
        for (int i = 0; i < shape.length; i++) {
            valid &= dims.get(i).isInt() && dims.get(i).asInt() >= 0;
            shape[i] = dims.get(i).asInt();
        }
        JsonNode offsets = node.path("data_offsets");
        valid &= offsets.isArray() && offsets.size() == 2 && isLong(offsets.get(0)) && isLong(offsets.get(1));
        if (!valid) {
            throw new CorruptFileException(file, "tensor " + name + " has no valid shape and data_offsets", null);
        }
        long begin = offsets.get(0).asLong();
        long end = offsets.get(1).asLong();
        Location location;
        try {
            location = new Location(type, Shape.of(shape), begin, end);
        } catch (IllegalArgumentException e) {
            throw new CorruptFileException(file, "tensor " + name + " has an impossible shape", e);
        }
        // sizes are compared by division, since size * bytes could overflow
        boolean fits = begin >= 0
                && end >= begin
                && end <= data.capacity()
                && (end - begin) % type.bytes() == 0
                && (end - begin) / type.bytes() == location.shape().size();
        if (!fits) {
            throw new CorruptFileException(
                    file,
                    "tensor " + name + " " + location.shape() + " does not fit its place " + begin + " to " + end
                            + " in " + data.capacity() + " bytes of data",
                    null);
        }
        return location;
    }

    private static boolean isLong(JsonNode node) {
        return node.isIntegralNumber() && node.canConvertToLong();
    }

    /** The file's text entries. */
    public Map<String, String> metadata() {
        return Map.copyOf(metadata);
    }

    /** Names of all tensors. */
    public Set<String> names() {
        return Set.copyOf(tensors.keySet());
    }

    /** Shape of a tensor, or null if there is none of that name. */
    public Shape shape(String name) {
        Location location = tensors.get(name);
        return location == null ? null : location.shape();
    }

    /**
     * Copies an F32 tensor into an array.
     *
     * @throws CorruptFileException if it is missing, or has another type or shape
     */
    public void read(String name, Shape shape, float[] target, int offset) throws CorruptFileException {
        FloatBuffer values = locate(name, ElementType.F32, shape).asFloatBuffer();
        values.get(target, offset, values.capacity());
    }

    /**
     * The elements of an I32 tensor.
     *
     * @throws CorruptFileException if it is missing, or has another type or shape
     */
    public int[] readInts(String name, Shape shape) throws CorruptFileException {
        int[] values = new int[Math.toIntExact(shape.size())];
        locate(name, ElementType.I32, shape).asIntBuffer().get(values);
        return values;
    }

    /**
     * The elements of a U8 tensor.
     *
     * @throws CorruptFileException if it is missing, or has another type or shape
     */
    public byte[] readBytes(String name, Shape shape) throws CorruptFileException {
        byte[] values = new byte[Math.toIntExact(shape.size())];
        locate(name, ElementType.U8, shape).get(values);
        return values;
    }

    /** All tensors by name, of whatever types they are. */
    Map<String, FileTensor> tensors() {
        Map<String, FileTensor> all = new LinkedHashMap<>();
        tensors.forEach((name, location) -> all.put(
                name, new FileTensor(location.shape(), () -> location.dtype().toFloats(bytes(location)))));
        return all;
    }

    /** SHA-256 of the file as it was read, in hexadecimal digits. */
    String sha256() throws IOException {
        return Sha256.of(out -> out.write(data.array()));
    }

    /** The exception for content that does not follow the format. */
    CorruptFileException corrupt(String what, Throwable cause) {
        return new CorruptFileException(file, what, cause);
    }

    private ByteBuffer locate(String name, ElementType dtype, Shape shape) throws CorruptFileException {
        Location location = tensors.get(name);
        if (location == null) {
            throw new CorruptFileException(file, "it has no tensor " + name, null);
        }
        if (location.dtype() != dtype || !location.shape().equals(shape)) {
            throw new CorruptFileException(
                    file,
                    "tensor " + name + " is " + location.dtype() + " " + location.shape() + " where " + dtype + " "
                            + shape + " is needed",
                    null);
        }
        return bytes(location);
    }

    private ByteBuffer bytes(Location location) {
        return data.slice((int) location.begin(), (int) (location.end() - location.begin()))
                .order(ByteOrder.LITTLE_ENDIAN);
    }
}
