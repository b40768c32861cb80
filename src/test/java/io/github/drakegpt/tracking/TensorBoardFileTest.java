package io.github.drakegpt.tracking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.train.TrainingListener.Start;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.tensorflow.framework.DataType;
import org.tensorflow.framework.Summary;
import org.tensorflow.util.Event;
import org.tensorflow.util.SessionLog;

class TensorBoardFileTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ModelConfig MODEL =
            new ModelConfig(Models.BIGRAM, 5, 3, 4, 4, 2, 1, 0, false, Init.PYTORCH, Quantization.NONE, false);

    @TempDir
    Path temp;

    private RunFolder run;
    private TensorBoardFile events;

    @BeforeEach
    void makeARun() throws IOException {
        ObjectNode config = JSON.createObjectNode();
        config.set("model", JSON.valueToTree(MODEL));
        config.putObject("data").put("source", "`<b>a</b>`");
        run = RunFolder.create(temp.resolve("run"), config, CharTokenizer.of("abcde"));
        events = new TensorBoardFile(run);
        events.start(startAt(1));
    }

    /** The examples of RFC 3720, B.4, where the bytes of the checksum stand in the other order. */
    @ParameterizedTest
    @CsvSource({
        "0000000000000000000000000000000000000000000000000000000000000000, 8a9136aa",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff, 62a8ab43",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f, 46dd794e",
        "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100, 113fdb5c"
    })
    void theChecksumOfTheseTestsIsTheOneThatWasPublished(String data, String checksum) {
        assertThat(EventsReader.crc32c(HexFormat.of().parseHex(data))).isEqualTo((int) Long.parseLong(checksum, 16));
    }

    @Test
    void everyValueHasItsTag() throws IOException {
        double before = System.currentTimeMillis() / 1000.0;
        events.add(new Metrics(450, 2.125, null, null, null, 0.001, 0.5, 123_456, null, 11.5, null));
        events.add(new Metrics(500, 2.0, 2.25, 2.5, null, 0.0018, 0.75, 123_457, 1_000_000L, 12.346, "la\nla"));
        double after = System.currentTimeMillis() / 1000.0;

        List<Event> read = EventsReader.read(file());
        assertThat(read)
                .hasSize(5)
                .allSatisfy(event -> assertThat(event.getWallTime()).isBetween(before, after));
        assertThat(read.get(0).getFileVersion()).isEqualTo("brain.Event:2");
        assertThat(read).extracting(Event::getStep).containsExactly(0L, 1L, 0L, 450L, 500L);
        assertThat(scalars(read.get(3)))
                .isEqualTo(Map.of(
                        "loss/batch",
                        2.125f,
                        "train/lr",
                        0.001f,
                        "train/grad_norm",
                        0.5f,
                        "train/tokens_per_s",
                        123456f));
        assertThat(scalars(read.get(4)))
                .isEqualTo(Map.of(
                        "loss/batch",
                        2f,
                        "loss/train",
                        2.25f,
                        "loss/val",
                        2.5f,
                        "train/lr",
                        0.0018f,
                        "train/grad_norm",
                        0.75f,
                        "train/tokens_per_s",
                        123457f,
                        "train/peak_memory_bytes",
                        1e6f));
        assertThat(EventsReader.text(text(read.get(4), "sample"))).isEqualTo("la\nla");
    }

    @Test
    void aLineOfAnOlderVersionHasNoLossOfItsBatch() throws IOException {
        events.add(new Metrics(500, null, 2.25, 2.5, null, 0.0018, 0.75, 1, null, 1, null));

        assertThat(scalars(lastEvent())).doesNotContainKey("loss/batch").containsKey("loss/train");
    }

    @Test
    void theConfigurationIsThereOnce() throws IOException {
        evaluate(10, 20);
        assertThat(EventsReader.text(text(EventsReader.read(file()).get(2), "config")))
                .isEqualTo(Files.readString(run.path().resolve(RunFolder.CONFIG)));

        events.start(startAt(21));
        evaluate(30);

        assertThat(EventsReader.shown(run.eventFiles()).get("config")).containsOnlyKeys(0L);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "\n",
                "\n\n  two lines, and spaces  \n\n",
                "Said \"no\" and 'maybe' & <script>alert(1)</script>",
                "</code></pre><!-- # *a* [b](c) \\",
                "```\ncode\n```",
                "````````",
                "` `` ``` ````",
                "\ud83d\ude00 caf\u00e9 \u2028 \t \u0000"
            })
    void textIsShownAsItIs(String sample) throws IOException {
        events.add(new Metrics(500, 2.0, 2.25, 2.5, null, 0.0018, 0.75, 1, 1L, 1, sample));

        Summary.Value value = text(lastEvent(), "sample");
        assertThat(EventsReader.text(value)).isEqualTo(sample);
        assertThat(value.getMetadata().getPluginData().getPluginName()).isEqualTo("text");
        assertThat(value.getTensor().getDtype()).isEqualTo(DataType.DT_STRING);
        assertThat(value.getTensor().hasTensorShape()).isTrue();
        assertThat(value.getTensor().getTensorShape().getDimCount()).isZero();
    }

    /** TensorFlow's classes of that version do not know the field yet. */
    @Test
    void textIsOfTheClassThatTensorBoardAsksFor() throws IOException {
        evaluate(10);

        var unknown = text(lastEvent(), "sample").getMetadata().getUnknownFields();
        assertThat(unknown.asMap()).containsOnlyKeys(4);
        assertThat(unknown.getField(4).getVarintList()).containsExactly(2L); // DATA_CLASS_TENSOR
    }

    @ParameterizedTest
    @ValueSource(doubles = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, -0.0, 1e-45, 1e300})
    void everyNumberIsWritten(double value) throws IOException {
        events.add(new Metrics(7, value, value, value, null, value, value, 1, 1L, 1, ""));

        assertThat(scalars(lastEvent()))
                .containsEntry("loss/batch", (float) value)
                .containsEntry("train/grad_norm", (float) value);
        evaluate(8);
        assertThat(EventsReader.shown(run.eventFiles()).get("loss/batch")).containsOnlyKeys(7L, 8L);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 127, 128, 16_383, 16_384, Integer.MAX_VALUE})
    void stepsCanBeLarge(int step) throws IOException {
        events.add(new Metrics(step, 2.0, null, null, null, 0.1, 1.0, Long.MAX_VALUE, null, 1, null));

        assertThat(lastEvent().getStep()).isEqualTo(step);
        assertThat(scalars(lastEvent())).containsEntry("train/tokens_per_s", 9.223372e18f);
    }

    @Test
    void aResumedRunGetsAFileThatDropsTheStepsThatItDoesAgain() throws IOException {
        evaluate(10, 20, 30, 40);
        Path first = file();
        byte[] before = Files.readAllBytes(first);

        TensorBoardFile resumed = new TensorBoardFile(run); // by another process, within the same second
        resumed.start(startAt(21));
        resumed.add(evaluation(30, 1.5));
        resumed.close();

        assertThat(first).hasBinaryContent(before);
        assertThat(run.eventFiles()).hasSize(2).startsWith(first);
        List<Event> read = EventsReader.read(run.eventFiles().get(1));
        assertThat(read.get(0).getFileVersion()).isEqualTo("brain.Event:2");
        assertThat(read.get(1).getSessionLog().getStatus()).isEqualTo(SessionLog.SessionStatus.START);
        assertThat(read).extracting(Event::getStep).containsExactly(0L, 21L, 30L);
        assertThat(EventsReader.shown(run.eventFiles()).get("loss/val")).isEqualTo(Map.of(10L, 2f, 20L, 2f, 30L, 1.5f));
    }

    /** TensorBoard reads files in the order of their names. */
    @Test
    void aFileComesBehindTheEarlierOnesThoughTheClockWasSetBack() throws IOException {
        Path future = Files.createFile(run.path().resolve("events.out.tfevents.9999999990.z.drakegpt"));

        evaluate(10);

        assertThat(run.eventFiles()).hasSize(2).startsWith(future);
        assertThat(run.eventFiles().get(1).getFileName().toString()).startsWith("events.out.tfevents.9999999991.");
        assertThat(future).isEmptyFile();
    }

    @Test
    void aRunThatHasNothingLeftToDoGetsNoFile() throws IOException {
        events.close();

        assertThat(run.eventFiles()).isEmpty();
    }

    @Test
    void aDiscardedRunTakesItsFilesAlongAndNoOthers() throws IOException {
        Path other = Files.createFile(run.path().resolve("events.out.tfevents.1700000000.host"));
        evaluate(10);
        events.start(startAt(1));
        evaluate(10);
        events.close();

        run.discard();
        assertThat(run.path().toFile().list())
                .containsExactly(other.getFileName().toString());
    }

    @Test
    void whatWasRecordedCanBeReadAtOnce() throws IOException {
        for (int step = 1; step <= 3; step++) {
            evaluate(step);
            assertThat(lastEvent().getStep()).isEqualTo(step);
        }
    }

    @Test
    void aReaderSeesWholeEventsWhileTheyAreWritten() throws Exception {
        evaluate(1);
        Path file = file();
        AtomicBoolean done = new AtomicBoolean();
        List<Integer> counts = new ArrayList<>();
        List<Exception> failures = new ArrayList<>();
        Thread reader = new Thread(() -> {
            try {
                for (boolean last = false; !last; ) {
                    last = done.get();
                    List<Event> read = new ArrayList<>();
                    EventsReader.readWhole(Files.readAllBytes(file), read); // fails at a wrong checksum
                    counts.add(read.size());
                }
            } catch (IOException e) {
                failures.add(e);
            }
        });
        reader.start();
        for (int step = 2; step <= 500; step++) {
            evaluate(step);
        }
        done.set(true);
        reader.join();

        assertThat(failures).isEmpty();
        assertThat(counts).isSorted().endsWith(3 + 500);
    }

    @Test
    void whatIsLeftOfAFileThatWasCutOffCanBeRead() throws IOException {
        evaluate(10, 20);
        byte[] bytes = Files.readAllBytes(file());
        List<Event> all = EventsReader.read(file());

        for (int length = 0; length < bytes.length; length++) {
            List<Event> left = new ArrayList<>();
            EventsReader.readWhole(Arrays.copyOf(bytes, length), left);
            assertThat(left).hasSizeLessThan(all.size()).isEqualTo(all.subList(0, left.size()));
        }
    }

    @Test
    void everyFlippedBitIsNoticed() throws IOException {
        evaluate(10);
        byte[] bytes = Files.readAllBytes(file());
        int size = EventsReader.read(file()).size();

        for (int bit = 0; bit < 8 * bytes.length; bit++) {
            byte[] damaged = bytes.clone();
            damaged[bit / 8] ^= (byte) (1 << bit % 8);
            assertThatThrownBy(() -> EventsReader.readWhole(damaged, new ArrayList<>()))
                    .as("bit %s of %s events", bit, size)
                    .hasMessage("wrong checksum");
        }
    }

    @Test
    void aFileThatCannotBeWrittenIsAnError() throws IOException {
        run.discard();

        assertThatThrownBy(() -> events.add(evaluation(1, 2)))
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll("Could not write " + run.path(), "its folder does not exist");
    }

    @Test
    void theNameHasTheTimeAndTheMachine() throws IOException {
        assertThat(run.nextEventFile(1_700_000_000, "a b/c.example"))
                .isEqualTo(run.path().resolve("events.out.tfevents.1700000000.a-b-c.example.drakegpt"));
        long before = System.currentTimeMillis() / 1000;
        evaluate(1);

        String[] name = file().getFileName().toString().split("\\.", 5);
        assertThat(Long.parseLong(name[3])).isBetween(before, System.currentTimeMillis() / 1000);
        assertThat(name[4]).matches("[A-Za-z0-9.-]+\\.drakegpt");
    }

    private void evaluate(int... steps) throws IOException {
        for (int step : steps) {
            events.add(evaluation(step, 2));
        }
    }

    private static Metrics evaluation(int step, double loss) {
        return new Metrics(step, loss, loss, loss, null, 0.1, 1.0, 100, 1L, 1, "text");
    }

    /** The run's only file. */
    private Path file() throws IOException {
        assertThat(run.eventFiles()).hasSize(1);
        return run.eventFiles().get(0);
    }

    private Event lastEvent() throws IOException {
        List<Event> read = EventsReader.read(file());
        return read.get(read.size() - 1);
    }

    private static Map<String, Float> scalars(Event event) {
        Map<String, Float> scalars = new HashMap<>();
        for (Summary.Value value : event.getSummary().getValueList()) {
            if (value.getValueCase() == Summary.Value.ValueCase.SIMPLE_VALUE) {
                assertThat(scalars.put(value.getTag(), value.getSimpleValue())).isNull();
            }
        }
        return scalars;
    }

    private static Summary.Value text(Event event, String tag) {
        List<Summary.Value> values = event.getSummary().getValueList().stream()
                .filter(value -> value.getTag().equals(tag))
                .toList();
        assertThat(values).hasSize(1);
        return values.get(0);
    }

    private static Start startAt(int firstStep) {
        return new Start(null, null, "cpu", Precision.FP32, 1, 1, firstStep, null);
    }
}
