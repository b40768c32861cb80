package io.github.drakegpt.report;

import io.github.drakegpt.model.Models;
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
     * @param group its runs
     * @param valLoss their mean, in nats per token
     * @param change of the val loss from the step before; empty for the first step
     */
    public record Step(SeedGroup group, String adds, double valLoss, Optional<Double> change) {}

    /** The progressions that some groups make, in the order of their first ones. Only groups of finished runs count. */
    public static List<Progression> of(List<SeedGroup> groups) {
        return groups.stream()
                .filter(group -> group.stage().quantization() == Quantization.NONE)
                .filter(group ->
                        group.valLoss().isPresent() && group.runs().stream().allMatch(RunReport::isFinished))
                .collect(Collectors.groupingBy(
                        group -> group.first().settingsBut(MODEL, RunReport.SEED),
                        LinkedHashMap::new,
                        Collectors.toList()))
                .values()
                .stream()
                .map(Progression::ofAlike)
                .filter(progression -> progression.steps().size() > 1)
                .toList();
    }

    private static Progression ofAlike(List<SeedGroup> alike) {
        TreeMap<Integer, SeedGroup> byModel = new TreeMap<>();
        alike.forEach(
                group -> byModel.putIfAbsent(Models.NAMES.indexOf(group.stage().model()), group));
        List<Step> steps = new ArrayList<>();
        int first = byModel.firstKey(); // of the models whose parts the next step adds
        for (Map.Entry<Integer, SeedGroup> model : byModel.entrySet()) {
            String adds = Models.NAMES.subList(first, model.getKey() + 1).stream()
                    .map(Models::adds)
                    .collect(Collectors.joining(", "));
            double valLoss = model.getValue().valLoss().getAsDouble();
            Optional<Double> change = steps.isEmpty()
                    ? Optional.empty()
                    : Optional.of(valLoss - steps.get(steps.size() - 1).valLoss());
            steps.add(new Step(model.getValue(), adds, valLoss, change));
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
