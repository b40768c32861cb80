package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.train.TrainingListener;
import io.github.drakegpt.train.TrainingResult;
import java.time.Duration;
import java.util.Locale;
import java.util.OptionalDouble;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.Marker;
import org.slf4j.MarkerFactory;

/**
 * Shows training on stderr: the settings, every few seconds a step, each evaluation with a sample, and a summary. With
 * a bar below the evaluations instead of the steps, on a terminal. Lines that are not shown are logged at level DEBUG,
 * to the log file only.
 */
final class Progress implements TrainingListener, AutoCloseable {
    /** Marks lines to be shown faintly, where there are colours. */
    static final Marker QUIET = MarkerFactory.getMarker("QUIET");

    private static final Logger log = LoggerFactory.getLogger(Progress.class);
    private static final double SECONDS_BETWEEN_MESSAGES = 0.2;
    private static final int SAMPLE_WIDTH = 76;
    private static final int WIDTH_FOR_SPEED = 120; // of a terminal: a narrower one has no room for the bar

    private static volatile ProgressBar drawn; // the bar that is on the terminal now, or null

    private final ProgressOptions.Style style;
    private final SettingsTable settings;
    private final SettingsTable before;
    private final OptionalDouble secondsAtPeak;
    private final double secondsBetweenLines;
    private final StepTimes times = new StepTimes();

    private BarLine line; // that the bar is in
    private Start start;
    private long tokensPerStep;
    private int lastDone; // last step whose time is known
    private double lastDoneSeconds;
    private double nextLine; // seconds of training
    private double elapsedAtStart;
    private long peakMemoryBytes;

    /**
     * @param style not {@code AUTO}
     * @param before settings that were shown already
     * @param secondsAtPeak that a step would take if the device did nothing but multiply
     */
    Progress(
            ProgressOptions.Style style,
            SettingsTable settings,
            SettingsTable before,
            OptionalDouble secondsAtPeak,
            double secondsBetweenLines) {
        this.style = style;
        this.settings = settings;
        this.before = before;
        this.secondsAtPeak = secondsAtPeak;
        this.secondsBetweenLines = secondsBetweenLines;
    }

    /** Whether the terminal shows a bar, which a log line must replace. */
    static boolean isBarDrawn() {
        return drawn != null;
    }

    @Override
    public void onStart(Start start) {
        this.start = start;
        tokensPerStep = (long) start.train().sequencesPerStep() * start.model().contextLength();
        lastDone = start.firstStep() - 1;
        lastDoneSeconds = start.clock().trainSeconds();
        elapsedAtStart = start.clock().elapsedSeconds();
        SettingsTable news = settings.without(before);
        if (!news.isEmpty()) {
            show(before.isEmpty() ? "Settings:" : "Settings as before, but:");
            show(QUIET, news.toString().stripTrailing());
        }
        log.debug("Device {}", start.device());
        int iters = start.train().iters();
        String name = Stage.of(start.model()).name();
        show(format(
                "%s: %,d parameters, %s with gradients, moments and activations, %s, %s",
                name,
                start.parameters(),
                megabytes(start.memoryBytes()),
                start.precision().label(),
                start.firstStep() == 1
                        ? "from the start"
                        : start.firstStep() > iters ? "already trained" : "resuming at step " + start.firstStep()));
        if (style == ProgressOptions.Style.BAR && start.firstStep() <= iters) {
            line = new BarLine();
            drawn = new ProgressBarBuilder()
                    .setTaskName(name)
                    .setInitialMax(iters)
                    .startsFrom(start.firstStep() - 1L, Duration.ZERO)
                    .setStyle(ProgressBarStyle.ASCII)
                    .setUpdateIntervalMillis(200)
                    .setUnit(" steps", 1)
                    .setConsumer(line)
                    .continuousUpdate()
                    .build();
        }
        nextLine = lastDoneSeconds + (drawn == null ? secondsBetweenLines : 0);
    }

    // ---------------------------------------------------------------------------------------------- steps

    @Override
    public void onStep(Step step) {
        if (step.isDone()) {
            double now = start.clock().trainSeconds();
            times.add(step.number() - lastDone, now - lastDoneSeconds);
            lastDone = step.number();
            lastDoneSeconds = now;
            if (now >= nextLine) {
                show(step);
                nextLine = now + (drawn == null ? secondsBetweenLines : SECONDS_BETWEEN_MESSAGES);
            }
        }
        if (drawn != null) {
            drawn.stepTo(step.number());
        }
    }

    private void show(Step step) {
        double seconds = times.average();
        String speed = format("%s | %,.0f tokens/s", milliseconds(seconds), tokensPerStep / seconds)
                + (secondsAtPeak.isPresent()
                        ? format(" | MFU %.1f%%", 100 * secondsAtPeak.getAsDouble() / seconds)
                        : "");
        if (drawn != null) {
            boolean narrow = line.width() < WIDTH_FOR_SPEED;
            drawn.setExtraMessage(format(" loss %.3f", step.loss()) + (narrow ? "" : " | " + speed));
            return;
        }
        int done = step.number() - start.firstStep() + 1;
        double left = (start.clock().elapsedSeconds() - elapsedAtStart)
                / done
                * (start.train().iters() - step.number());
        show(format(
                "%s | loss %.4f | grad norm %.2f | lr %.2e | %s | %s left",
                place(step), step.loss(), step.gradNorm(), step.learningRate(), speed, duration(left)));
    }

    // ---------------------------------------------------------------------------------------------- evaluations

    @Override
    public void onEvaluation(Evaluation evaluation) {
        peakMemoryBytes = evaluation.peakMemoryBytes();
        show(format(
                "%s | estimates: train loss %.4f, val loss %.4f%s | %,.0f tokens/s | %s",
                place(evaluation.step()),
                evaluation.trainLoss(),
                evaluation.valLoss(),
                evaluation.best() ? " (best)" : "",
                tokensPerStep / times.average(),
                duration(start.clock().elapsedSeconds())));
        boolean last = evaluation.step().number() == start.train().iters();
        if (!last) { // after the last one the command prints a longer text
            String margin = " ".repeat(place(evaluation.step()).length());
            evaluation.sample().get().ifPresent(sample -> show(QUIET, margin + " | " + oneLine(sample)));
        }
        nextLine = start.clock().trainSeconds() + (drawn == null ? secondsBetweenLines : 0);
    }

    /** The beginning of a text, its line breaks as slashes, without terminal control sequences. */
    private static String oneLine(String sample) {
        String line = sample.strip().replaceAll("\\s*\\n\\s*", " / ").replaceAll("\\p{Cc}", " ");
        int width = line.codePointCount(0, line.length());
        return width <= SAMPLE_WIDTH ? line : line.substring(0, line.offsetByCodePoints(0, SAMPLE_WIDTH - 3)) + "...";
    }

    // ---------------------------------------------------------------------------------------------- end

    @Override
    public void onEnd(TrainingResult result) {
        close();
        String end = switch (result.end()) {
            case COMPLETED -> "done";
            case OUT_OF_PATIENCE ->
                "stopped early: no lower val loss since step " + result.state().bestStep();
            case INTERRUPTED -> "interrupted";
        };
        TrainingState state = result.state();
        String loss = state.isFinished()
                ? format(", val loss %.4f over the whole validation split", state.finalValLoss())
                : "";
        String best = state.bestStep() == 0
                ? ""
                : format(", lowest estimate %.4f at step %d", state.bestValLoss(), state.bestStep());
        show(end + " at step " + state.step() + loss + best);
        int steps = lastDone - start.firstStep() + 1;
        if (steps > 0) {
            show(format(
                    "a step took %s (P50), %s (P90); %,d tokens, %,.0f a second; %s%s in all",
                    milliseconds(times.percentile(0.5)),
                    milliseconds(times.percentile(0.9)),
                    steps * tokensPerStep,
                    tokensPerStep / times.mean(),
                    peakMemoryBytes == 0 ? "" : "peak memory " + megabytes(peakMemoryBytes) + "; ",
                    duration(start.clock().elapsedSeconds() - elapsedAtStart)));
        }
    }

    @Override
    public void close() {
        ProgressBar bar = drawn;
        if (bar != null) {
            bar.close();
            drawn = null;
        }
    }

    // ---------------------------------------------------------------------------------------------- lines

    private void show(String line) {
        show(null, line);
    }

    private void show(Marker marker, String line) {
        if (style == ProgressOptions.Style.NONE) {
            log.debug(marker, line);
        } else {
            log.info(marker, line);
        }
        if (drawn != null) {
            drawn.refresh(); // below the line that has replaced it
        }
    }

    /** Step and number of steps, of constant width. */
    private String place(Step step) {
        int iters = start.train().iters();
        return format("step %" + Integer.toString(iters).length() + "d/%d", step.number(), iters);
    }

    private static String milliseconds(double seconds) {
        double ms = 1e3 * seconds;
        return format(ms < 10 ? "%.2f ms" : ms < 100 ? "%.1f ms" : "%,.0f ms", ms);
    }

    private static String megabytes(long bytes) {
        return format("%,.1f MB", bytes / 1e6);
    }

    /** A time in the two largest units that it has. */
    static String duration(double seconds) {
        if (seconds < 60) {
            return format("%.1f s", seconds);
        }
        long whole = Math.round(seconds);
        return whole < 3600
                ? format("%d min %02d s", whole / 60, whole % 60)
                : format("%d h %02d min", whole / 3600, whole % 3600 / 60);
    }

    private static String format(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }
}
