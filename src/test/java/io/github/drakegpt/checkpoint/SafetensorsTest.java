package io.github.drakegpt.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import io.github.drakegpt.tensor.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsTest {
    private static final Path FIXTURES = Path.of("src/test/resources/fixtures");

    @TempDir
    Path folder;

    private Path file;

    @BeforeEach
    void nameAFile() {
        file = folder.resolve("x.safetensors");
    }

    // ---------------------------------------------------------------------------------------------- sound files

    @Test
    void readsWhatItWrote() throws IOException {
        float[] values = {9, 1.5f, -2, Float.NaN, Float.NEGATIVE_INFINITY, -0f, Float.MIN_VALUE, 7};
        write(
                Map.of("format", "pt", "note", "\u00fc\n\"\uD83D\uDE00"),
                new Safetensors.Source("matrix", Shape.of(2, 3), values, 1),
                new Safetensors.Source("scalar", Shape.of(), values, 7),
                new Safetensors.Source("none", Shape.of(4, 0), values, 0),
                new Safetensors.Source("na\u00efve \"name\"", Shape.of(1), values, 0));

        Safetensors read = Safetensors.read(file);

        assertThat(read.metadata())
                .containsExactlyInAnyOrderEntriesOf(Map.of("format", "pt", "note", "\u00fc\n\"\uD83D\uDE00"));
        assertThat(read.names()).containsExactlyInAnyOrder("matrix", "scalar", "none", "na\u00efve \"name\"");
        assertThat(read.shape("matrix")).isEqualTo(Shape.of(2, 3));
        assertThat(read.shape("none")).isEqualTo(Shape.of(4, 0));
        assertThat(read.shape("nothing")).isNull();
        float[] matrix = new float[8];
        read.read("matrix", Shape.of(2, 3), matrix, 2);
        assertThat(bits(matrix))
                .containsExactly(
                        bits(new float[] {0, 0, 1.5f, -2, Float.NaN, Float.NEGATIVE_INFINITY, -0f, Float.MIN_VALUE}));
        float[] scalar = new float[1];
        read.read("scalar", Shape.of(), scalar, 0);
        assertThat(scalar).containsExactly(7);
    }

    @Test
    void writesTheFormatToTheByte() throws IOException {
        write(
                Map.of("format", "pt"),
                new Safetensors.Source("a", Shape.of(2), new float[] {1, -2}, 0),
                new Safetensors.Source("b", Shape.of(), new float[] {8, 0.5f}, 1));

        String header = "{\"__metadata__\":{\"format\":\"pt\"},"
                + "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                + "\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]}}";
        ByteArrayOutputStream expected = new ByteArrayOutputStream();
        expected.write(header.length() + 6);
        expected.write(new byte[7]);
        expected.write((header + "      ").getBytes(StandardCharsets.UTF_8));
        expected.write(new byte[] {0, 0, (byte) 0x80, 0x3f, 0, 0, 0, (byte) 0xc0, 0, 0, 0, 0x3f});
        assertThat(header.length() % 8).isEqualTo(2);
        assertThat(Files.readAllBytes(file)).containsExactly(expected.toByteArray());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9})
    void theHeaderIsPaddedWithSpacesToEightBytes(int nameLength) throws IOException {
        write(Map.of(), new Safetensors.Source("n".repeat(nameLength), Shape.of(1), new float[] {1}, 0));

        byte[] bytes = Files.readAllBytes(file);
        int header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt();
        String json = new String(bytes, 8, header, StandardCharsets.UTF_8);
        assertThat(header % 8).isZero();
        assertThat(bytes).hasSize(8 + header + 4);
        assertThat(json).matches("\\{.*\\} {0,7}");
    }

    @ParameterizedTest
    @CsvSource({
        "BigramLM, 17, 17",
        "BlocksLM, 17, 16",
        "MultiHeadAttentionLM, 17, 16",
        "ResidualBlocksLM, 17, 16",
        "SingleHeadAttentionLM, 17, 16",
        "TransformerLM, 17, 16",
        "TransformerLM-no-final-norm, 17, 16"
    })
    void readsWhatPythonWrote(String name, int vocabulary, int width) throws IOException {
        Path fixture = FIXTURES.resolve(name + ".safetensors");
        Safetensors read = Safetensors.read(fixture);

        assertThat(read.metadata()).containsOnlyKeys("config", "lr").containsEntry("lr", "[0.001, 0.002, 0.0015]");
        assertThat(read.metadata().get("config")).contains("\"vocab_size\": 17");
        String table = "weights.token_embedding_table.weight";
        assertThat(read.shape(table)).isEqualTo(Shape.of(vocabulary, width));
        float[] values = new float[vocabulary * width];
        read.read(table, read.shape(table), values, 0);
        assertThat(values).containsExactly(decode(fixture, table).floats());
        int[] tokens = read.readInts("tokens", read.shape("tokens"));
        assertThat(tokens).containsExactly(decode(fixture, "tokens").ints());
        assertThat(IntStream.of(tokens)).hasSizeGreaterThan(8).allMatch(token -> token >= 0 && token < 17);
    }

    /** The place of a tensor without the class that is tested: found by a pattern, for names without special meaning. */
    private static Raw decode(Path file, String name) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        int header = (int) bytes.getLong(0);
        String json = new String(bytes.array(), 8, header, StandardCharsets.UTF_8);
        Matcher place = Pattern.compile("\"" + Pattern.quote(name) + "\":\\{[^}]*\"data_offsets\":\\[(\\d+),(\\d+)\\]")
                .matcher(json);
        assertThat(place.find()).isTrue();
        int begin = Integer.parseInt(place.group(1));
        int end = Integer.parseInt(place.group(2));
        return new Raw(bytes.slice(8 + header + begin, end - begin).order(ByteOrder.LITTLE_ENDIAN));
    }

    private record Raw(ByteBuffer bytes) {
        float[] floats() {
            float[] values = new float[bytes.capacity() / 4];
            bytes.asFloatBuffer().get(values);
            return values;
        }

        int[] ints() {
            int[] values = new int[bytes.capacity() / 4];
            bytes.asIntBuffer().get(values);
            return values;
        }
    }

    @Test
    void readsTensorsInAnyOrderAndOfEveryType() throws IOException {
        raw(
                "{\"later\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[3,7]},"
                        + "\"flags\":{\"shape\":[3],\"dtype\":\"BOOL\",\"data_offsets\":[0,3]},"
                        + "\"half\":{\"dtype\":\"BF16\",\"shape\":[1,1],\"data_offsets\":[7,9]}}  ",
                1,
                1,
                1,
                0,
                0,
                0x80,
                0x3f,
                0,
                0);

        Safetensors read = Safetensors.read(file);
        float[] value = new float[1];
        read.read("later", Shape.of(1), value, 0);
        assertThat(value).containsExactly(1);
        assertThat(read.shape("half")).isEqualTo(Shape.of(1, 1));
        assertThat(read.metadata()).isEmpty();
    }

    // ---------------------------------------------------------------------------------------------- tampering

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7})
    void refusesAFileShorterThanItsFirstNumber(int length) throws IOException {
        Files.write(file, new byte[length]);
        assertDamaged("it has " + length + " bytes");
    }

    @ParameterizedTest
    @ValueSource(
            longs = {
                0,
                1,
                33,
                1000,
                100_000_001,
                Integer.MAX_VALUE,
                1L << 32 | 2,
                Long.MAX_VALUE,
                Long.MIN_VALUE,
                -1,
                -30
            })
    void refusesAHeaderOfImpossibleLength(long length) throws IOException {
        Files.write(file, bytes(length, "{}".getBytes(StandardCharsets.UTF_8), new byte[30]));
        assertDamaged("its header claims " + Long.toUnsignedString(length) + " bytes in a file of 40");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "\0\0\0\0",
                "{\"a\"",
                "{]",
                "{'a':1}",
                "{} x",
                "{}{}",
                "{} []",
                "{\"a\":NaN}",
                "{\"__metadata__\":{},\"__metadata__\":{}}",
                "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}",
            })
    void refusesAHeaderThatIsNotJson(String header) throws IOException {
        raw(header);
        assertDamaged("its header is not valid JSON");
    }

    @Test
    void refusesATensorThatIsNamedTwice() throws IOException {
        String tensor = "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}";
        raw("{" + tensor + "," + tensor + "}", 0, 0, 0, 0);
        assertDamaged("its header is not valid JSON");
    }

    @Test
    void refusesAHeaderInAnotherEncoding() throws IOException {
        for (byte[] start : new byte[][] {
            {(byte) 0xff, (byte) 0xfe, 0, 0},
            {0, 0, (byte) 0xff, (byte) 0xfe},
            {0, 0, 0, '{'},
            {0, '{', 0, 0},
            {'{', (byte) 0xc3, (byte) 0x28, '}'},
            {'{', '"', (byte) 0xff, '"'}
        }) {
            Files.write(file, bytes(8, start, new byte[] {'}', -1, -1, -1}));
            assertDamaged("its header is not valid JSON");
        }
    }

    @Test
    void refusesJsonNestedTooDeepToRead() throws IOException {
        raw("{\"a\":" + "[".repeat(50_000));
        assertDamaged("its header is not valid JSON");
    }

    @ParameterizedTest
    @ValueSource(strings = {"[]", "[{}]", "null", "12", "\"{}\"", "    "})
    void refusesAHeaderThatIsNoObject(String header) throws IOException {
        raw(header);
        assertDamaged("its header is not a JSON object");
    }

    @ParameterizedTest
    @ValueSource(strings = {"[]", "1", "null", "\"pt\"", "{\"k\":1}", "{\"k\":null}", "{\"k\":{}}"})
    void refusesMetadataThatAreNotTexts(String metadata) throws IOException {
        raw("{\"__metadata__\":" + metadata + "}");
        assertDamaged("its __metadata__ are not texts");
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"F31\"", "\"f32\"", "\"\"", "null", "32", "[\"F32\"]"})
    void refusesAnUnknownType(String dtype) throws IOException {
        raw("{\"a\":{\"dtype\":" + dtype + ",\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 0, 0, 0);
        assertDamaged("tensor a has the unknown type '");
    }

    @ParameterizedTest
    @ValueSource(strings = {"{}", "[]", "null", "\"F32\"", "7"})
    void refusesATensorThatIsNotDescribed(String tensor) throws IOException {
        raw("{\"a\":" + tensor + "}");
        assertDamaged("tensor a has the unknown type ''");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "\"shape\":[-1],\"data_offsets\":[0,4]",
                "\"shape\":[-1,-1],\"data_offsets\":[0,4]",
                "\"shape\":[1.0],\"data_offsets\":[0,4]",
                "\"shape\":[0.5,2],\"data_offsets\":[0,4]",
                "\"shape\":[\"1\"],\"data_offsets\":[0,4]",
                "\"shape\":[null],\"data_offsets\":[0,4]",
                "\"shape\":[[1]],\"data_offsets\":[0,4]",
                "\"shape\":[4294967297],\"data_offsets\":[0,4]",
                "\"shape\":[18446744073709551617],\"data_offsets\":[0,4]",
                "\"shape\":[1e999999999],\"data_offsets\":[0,4]",
                "\"shape\":1,\"data_offsets\":[0,4]",
                "\"shape\":null,\"data_offsets\":[0,4]",
                "\"shape\":{\"a\":1},\"data_offsets\":[0,4]",
                "\"data_offsets\":[0,4]",
                "\"shape\":[1]",
                "\"shape\":[1],\"data_offsets\":null",
                "\"shape\":[1],\"data_offsets\":4",
                "\"shape\":[1],\"data_offsets\":[]",
                "\"shape\":[1],\"data_offsets\":[0]",
                "\"shape\":[1],\"data_offsets\":[0,4,4]",
                "\"shape\":[1],\"data_offsets\":[0.0,4]",
                "\"shape\":[1],\"data_offsets\":[0,\"4\"]",
                "\"shape\":[1],\"data_offsets\":{\"begin\":0,\"end\":4}",
                "\"shape\":[1],\"data_offsets\":[0,18446744073709551620]",
                "\"shape\":[1],\"data_offsets\":[18446744073709551616,4]"
            })
    void refusesAShapeOrPlaceThatIsNone(String rest) throws IOException {
        raw("{\"a\":{\"dtype\":\"F32\"," + rest + "}}", 0, 0, 0, 0);
        assertDamaged("tensor a has no valid shape and data_offsets");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "[2147483647,2147483647,2147483647]",
                "[65536,65536,65536,65536]",
                "[2147483647,2147483647,2147483647,0]"
            })
    void refusesAShapeWhoseSizeOverflows(String shape) throws IOException {
        raw("{\"a\":{\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[0,0]}}");
        assertDamaged("tensor a has an impossible shape");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "F32 | [1]   | [4,0]", // reversed
                "F32 | [1]   | [-4,0]",
                "F32 | [1]   | [0,-4]",
                "F32 | [2]   | [0,8]", // behind the end
                "F32 | [1]   | [4,8]",
                "F32 | [1]   | [9223372036854775804,9223372036854775807]",
                "F32 | [1]   | [-9223372036854775808,9223372036854775807]",
                "F32 | [2]   | [0,4]", // of another size than the shape
                "F32 | []    | [0,0]",
                "F32 | [0]   | [0,4]",
                "F64 | [1]   | [0,4]",
                "U8  | [1]   | [0,4]",
                "F32 | [1]   | [0,3]",
                "F32 | [1073741825] | [0,4]", // times 4 is 4 in 32 bits
                "F64 | [1073741824,2147483647] | [0,0]" // times 8 overflows 64 bits
            })
    void refusesAPlaceThatTheTensorDoesNotFit(String dtype, String shape, String offsets) throws IOException {
        raw(
                "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}",
                0,
                0,
                0,
                0);
        assertDamaged("does not fit its place");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "[0,8] | [4,12] | the data of tensor b overlaps that of the one before it",
                "[0,8] | [0,8]  | the data of tensor b overlaps",
                "[0,8] | [16,24] | the data of tensor b leaves a gap after",
                "[8,16] | [16,24] | the data of tensor a leaves a gap after",
                "[8,16] | [0,8] | it holds 24 bytes of data where its header names 16"
            })
    void refusesTensorsThatDoNotCoverTheDataOnce(String a, String b, String message) throws IOException {
        raw(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" + a
                        + "},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" + b + "}}",
                new int[24]);
        assertDamaged(message);
    }

    @Test
    void refusesDataThatAreTruncatedOrTooLong() throws IOException {
        byte[] whole = valid();

        Files.write(file, Arrays.copyOf(whole, whole.length - 1));
        assertDamaged("does not fit its place");
        Files.write(file, Arrays.copyOf(whole, whole.length + 1));
        assertDamaged("it holds 33 bytes of data where its header names 32");
        raw("{}", 0);
        assertDamaged("it holds 1 bytes of data where its header names 0");
    }

    @Test
    void namesWhatATensorIsWhereAnotherIsNeeded() throws IOException {
        raw(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                        + "\"i\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
                new int[12]);
        Safetensors read = Safetensors.read(file);
        float[] target = new float[4];

        assertDamaged(() -> read.read("c", Shape.of(2), target, 0), "it has no tensor c");
        assertDamaged(
                () -> read.read("a", Shape.of(1, 2), target, 0), "tensor a is F32 (2, 1) where F32 (1, 2) is needed");
        assertDamaged(() -> read.read("i", Shape.of(1), target, 0), "tensor i is I32 (1) where F32 (1) is needed");
        assertDamaged(() -> read.readInts("a", Shape.of(2, 1)), "tensor a is F32 (2, 1) where I32 (2, 1) is needed");
        assertThat(target).containsOnly(0);
    }

    /** Whatever is done to a file, reading it either works or says that it is damaged, with little memory. */
    @Test
    @Timeout(60)
    void randomDamageIsNeverWorseThanACorruptFileException() throws IOException {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        assumeTrue(threads.isThreadAllocatedMemorySupported(), "this Java does not count allocations");
        threads.setThreadAllocatedMemoryEnabled(true);
        long thread = Thread.currentThread().getId();
        Random random = new Random(20);
        byte[] whole = valid();
        int refused = 0;
        int rounds = 2000;
        long mostAllocated = 0;
        for (int round = 0; round < rounds; round++) {
            byte[] bytes = whole.clone();
            int flips = random.nextInt(4);
            for (int i = 0; i < flips; i++) {
                // every second one in the header's length or first bytes
                int at = random.nextInt(random.nextBoolean() ? 16 : bytes.length);
                bytes[at] = (byte) (random.nextBoolean() ? random.nextInt(256) : bytes[at] ^ 1 << random.nextInt(8));
            }
            if (flips == 0 || random.nextInt(8) == 0) {
                bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length + 20));
            }
            Files.write(file, bytes);
            long before = threads.getThreadAllocatedBytes(thread);
            try {
                readEverything();
            } catch (CorruptFileException e) {
                refused++;
                assertSentence(e, "");
            }
            mostAllocated = Math.max(mostAllocated, threads.getThreadAllocatedBytes(thread) - before);
        }
        assertThat(mostAllocated).as("bytes").isLessThan(8_000_000);
        assertThat(refused).isBetween(rounds / 2, rounds - 10);
    }

    private void readEverything() throws IOException {
        Safetensors read = Safetensors.read(file);
        for (String name : read.names()) {
            Shape shape = read.shape(name);
            read.read(name, shape, new float[(int) shape.size()], 0);
        }
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private void write(Map<String, String> metadata, Safetensors.Source... tensors) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Safetensors.write(out, metadata, List.of(tensors));
        Files.write(file, out.toByteArray());
    }

    private byte[] valid() throws IOException {
        float[] values = {1, 2, 3, 4, 5, 6, 7, 8};
        write(
                Map.of("format", "pt"),
                new Safetensors.Source("a.weight", Shape.of(2, 3), values, 0),
                new Safetensors.Source("a.bias", Shape.of(2), values, 6));
        return Files.readAllBytes(file);
    }

    /** A file of any header and data. */
    private void raw(String header, int... data) throws IOException {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        byte[] bytes = new byte[data.length];
        IntStream.range(0, data.length).forEach(i -> bytes[i] = (byte) data[i]);
        Files.write(file, bytes(json.length, json, bytes));
    }

    private static byte[] bytes(long length, byte[] header, byte[] data) {
        return ByteBuffer.allocate(8 + header.length + data.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(length)
                .put(header)
                .put(data)
                .array();
    }

    private static int[] bits(float[] values) {
        return IntStream.range(0, values.length)
                .map(i -> Float.floatToRawIntBits(values[i]))
                .toArray();
    }

    private void assertDamaged(String message) {
        assertDamaged(() -> Safetensors.read(file), message);
    }

    private void assertDamaged(ThrowingCallable call, String message) {
        assertThatThrownBy(call).isInstanceOfSatisfying(CorruptFileException.class, e -> assertSentence(e, message));
    }

    private void assertSentence(CorruptFileException e, String message) {
        assertThat(e.getMessage())
                .startsWith(file + " is damaged: ")
                .contains(message)
                .endsWith("; take the file from a backup, or make it again.");
    }
}
