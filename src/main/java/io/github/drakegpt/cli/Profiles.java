package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.profile.RunProfiler;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Profiles of runs, which each run's folder keeps for the report. */
final class Profiles {
    private Profiles() {}

    /**
     * Measures runs in turns.
     *
     * @param folders the first of which is the baseline of the others
     * @param tokens of the whole validation split
     * @param seconds how long to time each run in each phase and batch
     */
    static List<RunProfiler.Profile> of(Backend backend, List<RunFolder> folders, int[] tokens, double seconds)
            throws IOException {
        List<RunProfiler.Subject> subjects = new ArrayList<>();
        for (RunFolder folder : folders) {
            subjects.add(new RunProfiler.Subject(folder.path().toString(), folder.loadWeights()));
        }
        List<RunProfiler.Profile> profiles = new RunProfiler(backend, subjects, tokens, seconds).run();
        for (int i = 0; i < folders.size(); i++) {
            boolean isLast = folders.get(i).weightsOf() == RunFolder.WeightsOf.LAST; // only those are in the report
            if (isLast && !Runs.isPretrained(folders.get(i)) && folders.get(i).isWritable()) {
                ObjectNode kept = JsonNodeFactory.instance
                        .objectNode()
                        .put("device", backend.name() + ", " + backend.description())
                        .put("precision", backend.precision().label());
                kept.setAll(json(profiles.get(i), profiles.get(0)));
                folders.get(i).writeProfile(kept);
            }
        }
        return profiles;
    }

    /** @param first the baseline */
    static ObjectNode json(RunProfiler.Profile profile, RunProfiler.Profile first) {
        ObjectNode row = JsonNodeFactory.instance
                .objectNode()
                .put("run", profile.subject().name())
                .put("quant", profile.subject().weights().config().quant().label())
                .put("weight_bytes", profile.subject().weights().bytes())
                .put("peak_bytes", profile.peakBytes())
                .put("val_loss", profile.valLoss())
                .put("val_loss_difference", profile.valLoss() - first.valLoss())
                .put("agreement", profile.agreement());
        ArrayNode speeds = row.putArray("speed");
        for (RunProfiler.Speed speed : profile.speeds()) {
            speeds.addObject()
                    .put("phase", name(speed.phase()))
                    .put("batch", speed.batch())
                    .put("tokens_per_s", speed.tokensPerSecond())
                    .put("p50_ms", speed.p50())
                    .put("p90_ms", speed.p90());
        }
        ObjectNode groups = row.putObject("decode_us");
        profile.groups().forEach((group, time) -> groups.put(group, 1e6 * time));
        return row;
    }

    static String name(RunProfiler.Phase phase) {
        return phase.name().toLowerCase(Locale.ROOT);
    }
}
