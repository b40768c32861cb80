package io.github.drakegpt.report;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.drakegpt.model.Stage;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Runs whose settings are equal but for the seed: repetitions of one experiment, which count as one.
 *
 * @param name that tells it from other groups of the same report
 * @param runs at least one, with different seeds
 */
public record SeedGroup(String name, List<RunReport> runs) {
    /** What the end of a folder's name says of the seed. */
    private static final String SEED_SUFFIX =
            "(?i)[^\\p{L}\\p{N}]*((train\\.)?seed([^\\p{L}\\p{N}]+\\p{N}*)?)?[^\\p{L}\\p{N}]*$";

    /** All groups of some runs, in the order of their first runs. Of two runs with the same seed, each is in its own group. */
    public static List<SeedGroup> of(List<RunReport> runs) {
        Map<Map<String, String>, List<List<RunReport>>> alike = new LinkedHashMap<>();
        List<List<RunReport>> groups = new ArrayList<>();
        for (RunReport run : runs) {
            List<List<RunReport>> candidates =
                    alike.computeIfAbsent(run.settingsBut(RunReport.SEED), settings -> new ArrayList<>());
            List<RunReport> group = candidates.stream()
                    .filter(others ->
                            others.stream().noneMatch(other -> other.seed().equals(run.seed())))
                    .findFirst()
                    .orElseGet(() -> {
                        List<RunReport> made = new ArrayList<>();
                        candidates.add(made);
                        groups.add(made);
                        return made;
                    });
            group.add(run);
        }
        List<String> names = groups.stream().map(SeedGroup::name).toList();
        List<SeedGroup> named = new ArrayList<>();
        for (int i = 0; i < groups.size(); i++) {
            String name = names.get(i);
            boolean isShared = names.indexOf(name) < i;
            String first = groups.get(i).get(0).name();
            named.add(new SeedGroup(isShared ? name + ", from " + first : name, List.copyOf(groups.get(i))));
        }
        return List.copyOf(named);
    }

    /** A single run's name; of several, the beginning that their names share, else the model's name. */
    private static String name(List<RunReport> runs) {
        String shared = runs.get(0).name();
        if (runs.size() == 1) {
            return shared;
        }
        for (RunReport run : runs) {
            while (!run.name().startsWith(shared)) {
                shared = shared.substring(0, shared.offsetByCodePoints(shared.length(), -1));
            }
        }
        String name = shared.replaceFirst(SEED_SUFFIX, "");
        return name.isEmpty() ? runs.get(0).stage().name() : name;
    }

    /** The run whose settings, but for the seed, are those of all. */
    public RunReport first() {
        return runs.get(0);
    }

    public Stage stage() {
        return first().stage();
    }

    /** Whether the training of all runs has come to its end. */
    public boolean isFinished() {
        return runs.stream().allMatch(RunReport::isFinished);
    }

    /** The profile of the first run that was profiled. */
    public Optional<JsonNode> profile() {
        return runs.stream().flatMap(run -> run.profile().stream()).findFirst();
    }

    /** When the first of the runs was created. */
    public FileTime created() {
        return runs.stream()
                .map(RunReport::created)
                .min(Comparator.naturalOrder())
                .orElseThrow();
    }

    /** Mean val loss of the runs that have one, in nats per token. */
    public OptionalDouble valLoss() {
        return runs.stream()
                .map(RunReport::valLoss)
                .flatMapToDouble(OptionalDouble::stream)
                .average();
    }
}
