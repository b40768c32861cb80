package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import com.sun.management.ThreadMXBean;
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
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.UnaryOperator;

/**
 * Files with random damage, for what reads files of others: 1,000 for each reader in the tests, more by {@code scripts/fuzz}.
 * A reader survives one if it ends with a result or an exception that it documents, within the time that counts as hanging,
 * and has allocated no more than the file's size justifies. The same seed makes the same files.
 */
public final class Mutants {
    private static final int COUNT = Integer.getInteger("fuzz.mutants", 1000);
    private static final long SEED = Long.getLong("fuzz.seed", 1);
    private static final int HANGS_AFTER_SECONDS = 60;
    private static final long ALLOCATES_ANYWAY = 64L << 20; // readers' buffers, many times over
    private static final int ALLOCATES_FOR_A_BYTE = 500;

    private static final byte[] INTERESTING = {
        0, 1, 2, 0x7F, (byte) 0x80, (byte) 0xFF, '\n', '"', '{', '[', '(', '-', '9'
    };
    private static final long[] NUMBERS = {
        0,
        1,
        -1,
        127,
        128,
        255,
        256,
        32767,
        65535,
        65536,
        Integer.MAX_VALUE,
        Integer.MIN_VALUE,
        0xFFFFFFFFL,
        Long.MAX_VALUE,
        Long.MIN_VALUE,
        1L << 40
    };
    private static final List<String> TEXTS = List.of(
            "null",
            "NaN",
            "-1",
            "1e999",
            "99999999999999999999",
            "[[[[[[[[",
            "{}",
            "\"",
            "\\u0000",
            "\uFFFF",
            "&a [*a]",
            "!!java.net.URL",
            "..",
            "../",
            "\r",
            "true",
            "0x",
            "cos\nsystem\n");

    /** Reads a file. */
    public interface Reader {
        /** Ends well or with an exception. */
        void read(Path file) throws Exception;
    }

    private final String name;
    private final List<byte[]> seeds;
    private final Reader reader;
    private UnaryOperator<byte[]> wrapper = UnaryOperator.identity();

    /**
     * @param name of the reader, for messages
     * @param seeds sound contents, which are damaged
     */
    public Mutants(String name, List<byte[]> seeds, Reader reader) {
        this.name = name;
        this.seeds = seeds;
        this.reader = reader;
    }

    /** The contents of files. */
    public static List<byte[]> contents(Path... files) throws IOException {
        byte[][] contents = new byte[files.length][];
        for (int i = 0; i < files.length; i++) {
            contents[i] = Files.readAllBytes(files[i]);
        }
        return List.of(contents);
    }

    /** Makes a file of damaged content, where damage from outside would only be found by a checksum. */
    public Mutants in(UnaryOperator<byte[]> container) {
        this.wrapper = container;
        return this;
    }

    /** Reads the sound contents, then damaged ones; fails at the first that is not survived. */
    public void survive(Path file, List<Class<? extends Exception>> documented) throws Exception {
        ExecutorService worker = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task, "reads mutants");
            thread.setDaemon(true);
            return thread;
        });
        try {
            for (byte[] seed : seeds) {
                Files.write(file, wrapper.apply(seed));
                reader.read(file);
            }
            for (int i = 0; i < COUNT; i++) {
                Random random = new Random(31 * SEED + i);
                byte[] mutant = wrapper.apply(damaged(seeds.get(random.nextInt(seeds.size())), random));
                Files.write(file, mutant);
                String problem;
                try {
                    problem = worker.submit(() -> problem(file, mutant.length, documented))
                            .get(HANGS_AFTER_SECONDS, TimeUnit.SECONDS);
                } catch (TimeoutException e) {
                    problem = "hangs";
                } catch (ExecutionException e) {
                    problem = "ends with " + e.getCause();
                }
                if (problem != null) {
                    Path kept = Path.of("target", "fuzz-" + name.replace(' ', '-') + "-" + i);
                    Files.write(kept, mutant);
                    fail(name + " " + problem + " on mutant " + i + " of seed " + SEED + ", which is in " + kept);
                }
            }
        } finally {
            worker.shutdownNow();
        }
    }

    private String problem(Path file, int size, List<Class<? extends Exception>> documented) throws Exception {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long before = threads.getCurrentThreadAllocatedBytes();
        try {
            reader.read(file);
        } catch (Exception e) {
            if (documented.stream().noneMatch(type -> type.isInstance(e))) {
                throw e;
            }
            assertThat(e.getMessage()).isNotBlank();
        }
        long allocated = threads.getCurrentThreadAllocatedBytes() - before;
        return allocated > ALLOCATES_ANYWAY + (long) ALLOCATES_FOR_A_BYTE * size
                ? "allocates " + allocated + " bytes for " + size
                : null;
    }

    // ---------------------------------------------------------------------------------------------- damage

    private static byte[] damaged(byte[] sound, Random random) {
        byte[] bytes = sound;
        for (int times = 1 + random.nextInt(4); times > 0; times--) {
            bytes = damagedOnce(bytes, random);
        }
        return bytes;
    }

    private static byte[] damagedOnce(byte[] sound, Random random) {
        byte[] bytes = sound.clone();
        int at = random.nextInt(bytes.length + 1);
        int left = bytes.length - at;
        int span = Math.min(left, random.nextBoolean() ? random.nextInt(9) : random.nextInt(left + 1));
        return switch (random.nextInt(9)) {
            case 0 -> Arrays.copyOf(bytes, at); // cut
            case 1 -> { // a bit
                if (left > 0) {
                    bytes[at] ^= (byte) (1 << random.nextInt(8));
                }
                yield bytes;
            }
            case 2 -> { // a byte
                if (left > 0) {
                    bytes[at] = random.nextBoolean()
                            ? INTERESTING[random.nextInt(INTERESTING.length)]
                            : (byte) random.nextInt();
                }
                yield bytes;
            }
            case 3 -> overwritten(bytes, at, number(random)); // a number of 1, 2, 4 or 8 bytes
            case 4 -> spliced(bytes, at, 0, number(random));
            case 5 ->
                spliced(bytes, at, 0, TEXTS.get(random.nextInt(TEXTS.size())).getBytes(StandardCharsets.UTF_8));
            case 6 -> spliced(bytes, at, span, new byte[0]); // left out
            case 7 -> spliced(bytes, at, 0, Arrays.copyOfRange(bytes, at, at + span)); // twice
            default -> { // from elsewhere in the file
                int from = random.nextInt(bytes.length + 1);
                yield spliced(bytes, at, 0, Arrays.copyOfRange(bytes, from, Math.min(bytes.length, from + 64)));
            }
        };
    }

    private static byte[] number(Random random) {
        long number = random.nextInt(3) == 0 ? random.nextLong() : NUMBERS[random.nextInt(NUMBERS.length)];
        byte[] bytes = ByteBuffer.allocate(Long.BYTES)
                .order(random.nextBoolean() ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN)
                .putLong(number)
                .array();
        return Arrays.copyOf(bytes, 1 << random.nextInt(4));
    }

    private static byte[] overwritten(byte[] bytes, int at, byte[] by) {
        System.arraycopy(by, 0, bytes, at, Math.min(by.length, bytes.length - at));
        return bytes;
    }

    private static byte[] spliced(byte[] bytes, int at, int leftOut, byte[] by) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes, 0, at);
        out.writeBytes(by);
        out.write(bytes, at + leftOut, bytes.length - at - leftOut);
        return out.toByteArray();
    }
}
