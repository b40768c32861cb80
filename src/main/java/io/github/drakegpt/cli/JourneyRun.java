package io.github.drakegpt.cli;

import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.quant.Quantization;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * A run of the journey: a stage, or the last model in full precision with the settings of the quantized ones, which are
 * compared with that.
 *
 * @param name of its folder
 * @param adds a few words on what it has and the one before has not
 */
record JourneyRun(String name, Stage stage, String adds) {
    private static final JourneyRun REFERENCE = new JourneyRun(
            Models.TRANSFORMER + "-bitnet-schedule",
            new Stage(Models.TRANSFORMER, Quantization.NONE),
            "the schedule and norms of the quantized ones, in full precision");

    /** All runs in their order. */
    static final List<JourneyRun> ALL = all();

    private static List<JourneyRun> all() {
        List<JourneyRun> all = new ArrayList<>();
        for (Stage stage : Stage.ALL) {
            if (stage.quantization() != Quantization.NONE && !all.contains(REFERENCE)) {
                all.add(REFERENCE);
            }
            all.add(new JourneyRun(stage.name(), stage, stage.adds()));
        }
        return List.copyOf(all);
    }

    /** @throws IllegalArgumentException that lists the names, if this is none of them */
    static JourneyRun of(String name) {
        return ALL.stream()
                .filter(run -> run.name.equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("There is no model '" + name + "'; choose one of "
                        + ALL.stream().map(JourneyRun::name).collect(Collectors.joining(", ")) + "."));
    }

    /** Whether the quantized runs are compared with this one. */
    boolean isReference() {
        return equals(REFERENCE);
    }

    /** Whether it has the schedule and the norms that suit quantized weights. */
    boolean hasQuantizedSettings() {
        return isReference() || stage.quantization() != Quantization.NONE;
    }
}
