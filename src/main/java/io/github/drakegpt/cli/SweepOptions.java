package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.LongNode;
import io.github.drakegpt.train.Settings;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import picocli.CommandLine.Option;

/** The options that make several trainings of one: with several seeds, and with several values of settings. */
final class SweepOptions {
    private static final String SEED = "train.seed";

    @Option(
            names = "--seeds",
            paramLabel = "N",
            description = "Train with N seeds: train.seed and the numbers after it.")
    private Integer seeds;

    @Option(
            names = "--sweep",
            paramLabel = "KEY=A,B,...",
            description = "Train with each of these values of a setting; given several times, with every combination.")
    private List<String> sweeps = new ArrayList<>();

    /** A setting with one of its values. */
    private record Choice(String key, JsonNode value) {
        /** Part of a folder's name: the value, with the last part of the key. */
        @Override
        public String toString() {
            String text = value.isValueNode() ? value.asText() : value.toString();
            return key.substring(key.lastIndexOf('.') + 1) + "=" + text.replaceAll("[^\\p{L}\\p{N}._+-]+", "_");
        }
    }

    /** Resolves the settings that all runs share, each time anew. */
    @FunctionalInterface
    interface Base {
        Settings resolve() throws IOException;
    }

    boolean areGiven() {
        return seeds != null || !sweeps.isEmpty();
    }

    /**
     * The settings of all runs by the names of their folders, in order.
     *
     * @throws IllegalArgumentException if a setting does not exist, or cannot have a value
     */
    Map<String, Settings> runs(Base base) throws IOException {
        if (seeds != null && seeds < 1) {
            throw new IllegalArgumentException("--seeds is " + seeds + "; give 1 or more.");
        }
        List<List<Choice>> combinations = List.of(List.of());
        for (String sweep : sweeps) {
            combinations = extended(combinations, choices(sweep));
        }
        if (seeds != null) {
            long first = base.resolve().train().seed();
            List<Choice> all = new ArrayList<>();
            for (int i = 0; i < seeds; i++) {
                all.add(new Choice(SEED, LongNode.valueOf(first + i)));
            }
            combinations = extended(combinations, all);
        }
        Map<String, Settings> runs = new LinkedHashMap<>();
        for (List<Choice> combination : combinations) {
            Settings settings = base.resolve();
            combination.forEach(choice -> settings.set(choice.key(), choice.value(), "--sweep"));
            settings.train();
            settings.model(1); // wrong settings are refused before a folder is made
            runs.put(combination.stream().map(Choice::toString).collect(Collectors.joining(",")), settings);
        }
        return runs;
    }

    private static List<List<Choice>> extended(List<List<Choice>> combinations, List<Choice> choices) {
        List<List<Choice>> extended = new ArrayList<>();
        for (List<Choice> combination : combinations) {
            for (Choice choice : choices) {
                List<Choice> longer = new ArrayList<>(combination);
                longer.add(choice);
                extended.add(longer);
            }
        }
        return extended;
    }

    private List<Choice> choices(String sweep) {
        int equals = sweep.indexOf('=');
        if (equals < 1 || equals == sweep.length() - 1) {
            throw new IllegalArgumentException("--sweep " + sweep
                    + " has no values; write --sweep key=a,b, such as --sweep train.max_lr=0.001,0.002.");
        }
        String key = sweep.substring(0, equals).strip();
        if (key.startsWith("device.")) {
            throw new IllegalArgumentException(
                    key + " belongs to the device, which all runs share; give it with --set.");
        }
        if (key.equals(SEED) && seeds != null) {
            throw new IllegalArgumentException("--seeds chooses " + SEED + " too; leave one of them out.");
        }
        List<Choice> choices = new ArrayList<>();
        Settings.values(sweep.substring(equals + 1), "--sweep " + sweep)
                .forEach(value -> choices.add(new Choice(key, value)));
        return choices;
    }
}
