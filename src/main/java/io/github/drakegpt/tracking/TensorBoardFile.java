package io.github.drakegpt.tracking;

import io.github.drakegpt.backend.Host;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.train.TrainingListener;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.time.Instant;
import java.util.zip.CRC32C;

/**
 * TensorBoard's events of a run, which {@code tensorboard --logdir} shows while it is trained. Each time that the run is
 * trained there is a new file, from the first record on; whole events only are added to it, each with one write.
 *
 * <p>The tags, at every step that is recorded, or at evaluations only:
 *
 * <table>
 * <caption>Tags</caption>
 * <tr><td>{@code loss/batch}</td><td>mean over the step's batch, in nats per token</td></tr>
 * <tr><td>{@code loss/train}, {@code loss/val}</td><td>an evaluation's losses, in nats per token</td></tr>
 * <tr><td>{@code train/lr}</td><td>the learning rate</td></tr>
 * <tr><td>{@code train/grad_norm}</td><td>norm of the gradient before clipping</td></tr>
 * <tr><td>{@code train/tokens_per_s}</td><td>of the training steps since the record before</td></tr>
 * <tr><td>{@code train/peak_memory_bytes}</td><td>an evaluation's: the most memory of the device taken at a time</td></tr>
 * <tr><td>{@code sample}</td><td>text that the model wrote at an evaluation, as Markdown that shows it as it is</td></tr>
 * <tr><td>{@code config}</td><td>the run's configuration as JSON, once at step 0</td></tr>
 * </table>
 *
 * <p>A file is a sequence of TFRecords ({@code tensorflow/core/lib/io/record_writer.h}), each an {@code Event} of
 * {@code tensorflow/core/util/event.proto}.
 */
public final class TensorBoardFile implements MetricsSink {
    /** Length and its checksum before an event, the event's checksum after it. */
    private static final int FRAME_BYTES = Long.BYTES + 2 * Integer.BYTES;

    /** Numbers of the fields of {@code Event}. */
    private static final class Event {
        static final int WALL_TIME = 1;
        static final int STEP = 2;
        static final int FILE_VERSION = 3;
        static final int SUMMARY = 5;
        static final int SESSION_LOG = 7;
    }

    private final RunFolder run;
    private final CRC32C crc = new CRC32C();

    private int firstStep;
    private Path file;
    private FileChannel channel; // open while something is being written, null before

    public TensorBoardFile(RunFolder run) {
        this.run = run;
    }

    /** Begins a file at the next record, so that a run that has nothing left to do gets none. */
    @Override
    public void start(TrainingListener.Start start) throws IOException {
        close();
        firstStep = start.firstStep();
    }

    @Override
    public void add(Metrics metrics) throws IOException {
        if (channel == null) {
            open();
        }
        ProtoMessage summary = new ProtoMessage();
        addScalar(summary, "loss/batch", metrics.loss());
        addScalar(summary, "loss/train", metrics.trainLoss());
        addScalar(summary, "loss/val", metrics.valLoss());
        addScalar(summary, "loss/final_val", metrics.finalValLoss());
        addScalar(summary, "train/lr", metrics.learningRate());
        addScalar(summary, "train/grad_norm", metrics.gradNorm());
        addScalar(summary, "train/tokens_per_s", metrics.tokensPerSecond());
        addScalar(summary, "train/peak_memory_bytes", metrics.peakMemoryBytes());
        if (metrics.sample() != null) {
            addText(summary, "sample", metrics.sample());
        }
        write(event(metrics.step()).add(Event.SUMMARY, summary));
    }

    private void open() throws IOException {
        boolean first;
        try {
            first = run.eventFiles().isEmpty();
            file = run.nextEventFile(Instant.now().getEpochSecond(), Host.name());
        } catch (IOException e) {
            throw AtomicFiles.failed(run.path(), e);
        }
        channel = run.append(file.getFileName().toString());
        write(event(0).add(Event.FILE_VERSION, "brain.Event:2"));
        // Makes TensorBoard drop the events of a killed process from this step on.
        ProtoMessage started = new ProtoMessage().add(1, 1); // status: START
        write(event(firstStep).add(Event.SESSION_LOG, started));
        if (first) {
            ProtoMessage summary = new ProtoMessage();
            addText(summary, "config", run.config().toPrettyString());
            write(event(0).add(Event.SUMMARY, summary));
        }
    }

    private static ProtoMessage event(int step) {
        return new ProtoMessage()
                .add(Event.WALL_TIME, System.currentTimeMillis() / 1000.0)
                .add(Event.STEP, step);
    }

    /** Adds a value of {@code summary.proto}, unless it is null. */
    private static void addScalar(ProtoMessage summary, String tag, Number value) {
        if (value != null) {
            summary.add(1, new ProtoMessage().add(1, tag).add(2, value.floatValue())); // tag, simple_value
        }
    }

    private static void addText(ProtoMessage summary, String tag, String text) {
        ProtoMessage plugin = new ProtoMessage().add(1, "text"); // plugin_name
        ProtoMessage metadata = new ProtoMessage().add(1, plugin).add(4, 2); // plugin_data, data_class: TENSOR
        ProtoMessage tensor = new ProtoMessage()
                .add(1, 7) // dtype: STRING
                .add(2, new ProtoMessage()) // tensor_shape: a scalar's
                .add(8, Markdown.verbatim(text)); // string_val
        summary.add(1, new ProtoMessage().add(1, tag).add(8, tensor).add(9, metadata)); // tag, tensor, metadata
    }

    /** Appends a record: a reader sees it at once, and whole. */
    private void write(ProtoMessage event) throws IOException {
        byte[] data = event.toByteArray();
        ByteBuffer record = ByteBuffer.allocate(FRAME_BYTES + data.length).order(ByteOrder.LITTLE_ENDIAN);
        record.putLong(data.length);
        record.putInt(maskedCrc(record.array(), Long.BYTES));
        record.put(data);
        record.putInt(maskedCrc(data, data.length));
        record.flip();
        try {
            while (record.hasRemaining()) {
                channel.write(record);
            }
        } catch (IOException e) {
            throw AtomicFiles.failed(file, e);
        }
    }

    /** CRC-32C as TFRecords have it: rotated and with a constant added, since data may hold checksums of its own. */
    private int maskedCrc(byte[] bytes, int length) {
        crc.reset();
        crc.update(bytes, 0, length);
        return Integer.rotateRight((int) crc.getValue(), 15) + 0xa282ead8;
    }

    @Override
    public void close() throws IOException {
        if (channel != null) {
            channel.close();
            channel = null;
        }
    }
}
