package io.github.drakegpt.report;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.drakegpt.quant.Quantization;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeSet;

/**
 * A quantized model beside one in full precision: what rounding the weights costs, and what it saves.
 *
 * @param differing settings in which the two differ besides {@code model.quant} and the seed: empty where like is compared
 *     with like
 */
public record QuantizationCost(SeedGroup full, SeedGroup quantized, List<String> differing) {
    private static final String QUANT = "model.quant";
    /** Settings without which two models cannot be compared. */
    private static final List<String> SHARED = List.of(
            "model.name",
            "model.vocab_size",
            "model.context_length",
            "model.embedding_dim",
            "model.num_heads",
            "model.num_layers",
            "data.sha256");

    /**
     * Each quantized model with the one in full precision, of the same shape and corpus, whose settings differ in the fewest
     * others; of several such, the first. Quantized models without one, and those that are still trained, are left out.
     */
    public static List<QuantizationCost> of(List<SeedGroup> groups) {
        List<SeedGroup> full = groups.stream()
                .filter(group -> group.stage().quantization() == Quantization.NONE)
                .filter(group -> group.isFinished() && group.valLoss().isPresent())
                .toList();
        return groups.stream()
                .filter(group -> group.stage().quantization() != Quantization.NONE)
                .filter(group -> group.isFinished() && group.valLoss().isPresent()
                        || group.first().weightsOnly())
                .flatMap(quantized -> full.stream()
                        .map(each -> new QuantizationCost(each, quantized, differing(each, quantized)))
                        .filter(cost -> cost.differing().stream().noneMatch(SHARED::contains))
                        .min(Comparator.comparingInt(cost -> cost.differing().size()))
                        .stream())
                .toList();
    }

    private static List<String> differing(SeedGroup a, SeedGroup b) {
        Map<String, String> ofA = a.first().settingsBut(QUANT, RunReport.SEED);
        Map<String, String> ofB = b.first().settingsBut(QUANT, RunReport.SEED);
        TreeSet<String> keys = new TreeSet<>(ofA.keySet());
        keys.addAll(ofB.keySet());
        keys.removeIf(key -> Objects.equals(ofA.get(key), ofB.get(key)));
        return List.copyOf(keys);
    }

    /**
     * The val loss of the quantized model less that of the other, in nats per token; empty for packed weights that were not
     * profiled.
     */
    public OptionalDouble lossDifference() {
        OptionalDouble loss = quantized.valLoss();
        if (loss.isEmpty()) { // packed weights come without a training
            Optional<JsonNode> profiled = quantized.first().profile().map(profile -> profile.path("val_loss"));
            loss = profiled.isPresent() && profiled.get().isNumber()
                    ? OptionalDouble.of(profiled.get().asDouble())
                    : OptionalDouble.empty();
        }
        return loss.isPresent()
                ? OptionalDouble.of(loss.getAsDouble() - full.valLoss().getAsDouble())
                : OptionalDouble.empty();
    }

    /** Bytes of the weights in full precision, as multiples of those of the packed ones. */
    public double timesSmaller() {
        return (double) full.first().weightBytes() / quantized.first().weightBytes();
    }

    /**
     * Tokens a second of writing one text, as multiples of full precision's; empty unless both were profiled on one device.
     */
    public OptionalDouble timesAsFast() {
        Optional<JsonNode> ours = quantized.profile();
        Optional<JsonNode> theirs = full.profile();
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

    /** The comparison in words; says so where the two differ in more than the weights. */
    public String sentence() {
        String model = quantized.stage().name();
        StringBuilder sentence = new StringBuilder(model);
        if (!quantized.name().equals(model)) {
            sentence.append(" (").append(quantized.name()).append(')');
        }
        sentence.append(": ");
        lossDifference()
                .ifPresent(difference ->
                        sentence.append(String.format(Locale.ROOT, "%+.3f nats per character ", difference)));
        sentence.append("against full precision with ")
                .append(
                        differing.isEmpty()
                                ? "the same settings (" + full.name() + ")"
                                : "other settings (" + full.name() + "; different " + String.join(", ", differing)
                                        + ")")
                .append(String.format(Locale.ROOT, ", %.1f times smaller", timesSmaller()));
        timesAsFast()
                .ifPresent(
                        times -> sentence.append(String.format(Locale.ROOT, ", %.2f times the decode speed", times)));
        return sentence.append('.').toString();
    }
}
