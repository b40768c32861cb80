package io.github.drakegpt.report;

import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.quant.Quantization;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * The val loss of each model beside that of the one before it: what each added part bought. Only runs that differ in
 * nothing but model and seed are compared; those of one model count as their mean.
 *
 * @param steps in the order of the models, at least two; some models may be missing
 */
public record Progression(List<Step> steps) {
    private static final String MODEL = "model.name";

    /**
     * A model in the progression.
     *
     * @param adds the parts that it has and the step before has not
     * @param runs of this model, with one seed each
     * @param valLoss their mean, in nats per token
     * @param change of the val loss from the step before; empty for the first step
     */
    public record Step(Stage stage, String adds, List<RunReport> runs, double valLoss, Optional<Double> change) {}

    /** The progressions that some runs make, in the order of their first runs. Runs without a val loss are left out. */
    public static List<Progression> of(List<RunReport> runs) {
        return runs.stream()
                .filter(run -> run.stage().quantization() == Quantization.NONE)
                .filter(run -> run.valLoss().isPresent())
                .collect(Collectors.groupingBy(
                        run -> run.settingsBut(MODEL, RunReport.SEED), LinkedHashMap::new, Collectors.toList()))
                .values()
                .stream()
                .map(Progression::ofAlike)
                .filter(progression -> progression.steps().size() > 1)
                .toList();
    }

    private static Progression ofAlike(List<RunReport> runs) {
        Map<Integer, List<RunReport>> byModel = runs.stream()
                .collect(Collectors.groupingBy(
                        run -> Models.NAMES.indexOf(run.stage().model()), TreeMap::new, Collectors.toList()));
        List<Step> steps = new ArrayList<>();
        int first = byModel.keySet().iterator().next(); // of the models whose parts the next step adds
        for (Map.Entry<Integer, List<RunReport>> model : byModel.entrySet()) {
            List<RunReport> seeds = List.copyOf(model.getValue());
            double valLoss = RunReport.meanValLoss(seeds);
            steps.add(new Step(
                    seeds.get(0).stage(),
                    Models.NAMES.subList(first, model.getKey() + 1).stream()
                            .map(Models::adds)
                            .collect(Collectors.joining(", ")),
                    seeds,
                    valLoss,
                    steps.isEmpty()
                            ? Optional.empty()
                            : Optional.of(valLoss - steps.get(steps.size() - 1).valLoss())));
            first = model.getKey() + 1;
        }
        return new Progression(List.copyOf(steps));
    }

    /** The largest change up or down, which the longest bar stands for. */
    public double largestChange() {
        return steps.stream()
                .flatMap(step -> step.change().stream())
                .mapToDouble(Math::abs)
                .max()
                .orElseThrow();
    }

    /** The part that lowered the val loss most, and those that did not. */
    public String sentence() {
        List<Step> parts = steps.subList(1, steps.size());
        Step most = parts.stream()
                .min(Comparator.comparing(step -> step.change().orElseThrow()))
                .orElseThrow();
        List<Step> useless =
                parts.stream().filter(step -> step.change().orElseThrow() >= 0).toList();
        if (useless.size() == parts.size()) {
            return "No part lowered the val loss.";
        }
        StringBuilder sentence = new StringBuilder(String.format(
                Locale.ROOT,
                "%s%s lowered the val loss%s by %.3f, from %.3f to %.3f",
                most.adds().substring(0, 1).toUpperCase(Locale.ROOT),
                most.adds().substring(1),
                parts.size() - useless.size() > 1 ? " most," : "",
                -most.change().orElseThrow(),
                most.valLoss() - most.change().orElseThrow(),
                most.valLoss()));
        if (!useless.isEmpty()) {
            sentence.append("; ")
                    .append(useless.stream()
                            .map(step -> String.format(
                                    Locale.ROOT,
                                    "%s (+%.3f)",
                                    step.adds(),
                                    step.change().orElseThrow()))
                            .collect(Collectors.joining(" and ")))
                    .append(" did not lower it");
        }
        return sentence.append('.').toString();
    }
}
