package io.github.drakegpt.report;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.drakegpt.quant.Quantization;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Quantized runs beside those in full precision that differ from them in {@code model.quant} and the seed alone: what
 * rounding the weights costs, and what it saves.
 *
 * @param full in full precision, with one seed each
 * @param quantized with one quantization, and one seed each
 */
public record QuantizationCost(List<RunReport> full, List<RunReport> quantized) {
    private static final String QUANT = "model.quant";

    /** The comparisons that some runs allow, in the order of their first runs. Runs without a val loss are left out. */
    public static List<QuantizationCost> of(List<RunReport> runs) {
        Map<Map<String, String>, List<RunReport>> alike = runs.stream()
                .filter(run -> run.valLoss().isPresent())
                .collect(Collectors.groupingBy(
                        run -> run.settingsBut(QUANT, RunReport.SEED), LinkedHashMap::new, Collectors.toList()));
        List<QuantizationCost> costs = new ArrayList<>();
        for (List<RunReport> group : alike.values()) {
            Map<Quantization, List<RunReport>> byWeights = group.stream()
                    .collect(Collectors.groupingBy(run -> run.model().quant(), TreeMap::new, Collectors.toList()));
            List<RunReport> full = byWeights.remove(Quantization.NONE);
            if (full != null) {
                byWeights.values().forEach(quantized -> costs.add(new QuantizationCost(full, quantized)));
            }
        }
        costs.sort(Comparator.comparingInt(cost -> runs.indexOf(cost.quantized().get(0))));
        return List.copyOf(costs);
    }

    /** The val loss of the quantized runs less that of the others, means each, in nats per token. */
    public double lossDifference() {
        return RunReport.meanValLoss(quantized) - RunReport.meanValLoss(full);
    }

    /** Bytes of the weights in full precision, as multiples of those of the packed ones. */
    public double timesSmaller() {
        return (double) full.get(0).weightBytes() / quantized.get(0).weightBytes();
    }

    /**
     * Tokens a second of writing one text, as multiples of full precision's; empty unless both were profiled on one device.
     */
    public OptionalDouble timesAsFast() {
        Optional<JsonNode> ours = quantized.get(0).profile();
        Optional<JsonNode> theirs = full.get(0).profile();
        if (ours.isEmpty()
                || theirs.isEmpty()
                || !ours.get().path("device").equals(theirs.get().path("device"))) {
            return OptionalDouble.empty();
        }
        double times = decodeSpeed(ours.get()) / decodeSpeed(theirs.get());
        return Double.isFinite(times) ? OptionalDouble.of(times) : OptionalDouble.empty();
    }

    private static double decodeSpeed(JsonNode profile) {
        for (JsonNode speed : profile.path("speed")) {
            if (speed.path("phase").asText().equals("decode")
                    && speed.path("batch").asInt() == 1) {
                return speed.path("tokens_per_s").asDouble();
            }
        }
        return Double.NaN;
    }

    /** The comparison in words. */
    public String sentence() {
        String sentence = String.format(
                Locale.ROOT,
                "%s: %+.3f nats per character against full precision with the same settings (%s), %.1f times smaller",
                quantized.get(0).stage().name(),
                lossDifference(),
                full.get(0).name(),
                timesSmaller());
        OptionalDouble fast = timesAsFast();
        return sentence
                + (fast.isPresent()
                        ? String.format(Locale.ROOT, ", %.2f times the decode speed.", fast.getAsDouble())
                        : ".");
    }
}
