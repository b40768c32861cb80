package io.github.drakegpt.cli;

import io.github.drakegpt.train.TrainingListener;
import io.github.drakegpt.train.TrainingResult;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Shows training on stderr: a bar on a terminal, elsewhere a line for each evaluation. The log gets the lines always. */
final class Progress implements TrainingListener {
    private static final Logger log = LoggerFactory.getLogger(Progress.class);
    private static final int BAR_INTERVAL = 10;

    private final boolean terminal = Terminal.isPresent();
    private int iters;
    private ProgressBar bar;

    @Override
    public void onStart(Start start) {
        iters = start.train().iters();
        log.info(
                "{}: {} parameters, {} MB with gradients, moments and activations, {}",
                start.model().name(),
                String.format(Locale.ROOT, "%,d", start.parameters()),
                String.format(Locale.ROOT, "%.1f", start.memoryBytes() / 1e6),
                start.firstStep() == 1
                        ? "from the start"
                        : start.firstStep() > iters ? "already trained" : "resuming at step " + start.firstStep());
        if (terminal && start.firstStep() <= iters) {
            bar = new ProgressBarBuilder()
                    .setTaskName(start.model().name())
                    .setInitialMax(iters)
                    .startsFrom(start.firstStep() - 1L, java.time.Duration.ZERO)
                    .setStyle(ProgressBarStyle.ASCII)
                    .setUpdateIntervalMillis(200)
                    .setUnit(" steps", 1)
                    .showSpeed()
                    .build();
        }
    }

    @Override
    public void onStep(Step step) {
        if (bar != null && step.number() % BAR_INTERVAL == 0) {
            bar.stepTo(step.number());
        }
    }

    @Override
    public void onEvaluation(Evaluation evaluation) {
        String line = String.format(
                Locale.ROOT,
                "step %d/%d  train loss %.4f  val loss %.4f",
                evaluation.step().number(),
                iters,
                evaluation.trainLoss(),
                evaluation.valLoss());
        if (bar == null) {
            log.info(line);
        } else {
            log.debug(line); // only into train.log: a line would break the bar
            bar.setExtraMessage(
                    String.format(Locale.ROOT, " train %.3f val %.3f", evaluation.trainLoss(), evaluation.valLoss()));
        }
    }

    @Override
    public void onEnd(TrainingResult result) {
        if (bar != null) {
            bar.stepTo(result.state().step());
        }
        close();
        String end = switch (result.end()) {
            case COMPLETED -> "done";
            case OUT_OF_PATIENCE ->
                "stopped early: no lower val loss since step " + result.state().bestStep();
            case INTERRUPTED -> "interrupted";
        };
        String best = result.state().bestStep() == 0
                ? ""
                : String.format(
                        Locale.ROOT,
                        ", lowest val loss %.4f at step %d",
                        result.state().bestValLoss(),
                        result.state().bestStep());
        log.info("{} at step {}{}", end, result.state().step(), best);
    }

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
            bar = null;
        }
    }
}
