package io.github.drakegpt.tracking;

import io.github.drakegpt.train.TrainingListener;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;

/** Stores or shows the metrics that {@link MetricsRecorder} records; called on the trainer's thread, in order. */
public interface MetricsSink extends AutoCloseable {
    /** Before the first step of this process. */
    default void start(TrainingListener.Start start) throws IOException {}

    /** A step that is recorded; steps ascend. An evaluation comes before its checkpoint is saved. */
    void add(Metrics metrics) throws IOException;

    /** After the last step. */
    default void end(TrainingResult result) throws IOException {}

    /** Called last, even when training has failed. */
    @Override
    default void close() throws IOException {}
}
