package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/** The settings of a run, each with its source. */
final class SettingsTable {
    private static final Set<String> NO_SETTINGS = Set.of("data.sha256");

    static final SettingsTable EMPTY = new SettingsTable(Map.of());

    private record Setting(String value, String source) {}

    private final Map<String, Setting> settings;

    private SettingsTable(Map<String, Setting> settings) {
        this.settings = settings;
    }

    /**
     * Those of a run's config.json.
     *
     * @param source is given a key, such as {@code train.iters}
     */
    static SettingsTable of(ObjectNode config, UnaryOperator<String> source) {
        Map<String, Setting> settings = new LinkedHashMap<>();
        RunFolder.settings(config).forEach((key, value) -> settings.put(key, new Setting(value, source.apply(key))));
        settings.keySet().removeAll(NO_SETTINGS);
        return new SettingsTable(settings);
    }

    boolean isEmpty() {
        return settings.isEmpty();
    }

    /** Those that differ from another table. */
    SettingsTable without(SettingsTable other) {
        Map<String, Setting> left = new LinkedHashMap<>(settings);
        left.entrySet().removeAll(other.settings.entrySet());
        return new SettingsTable(left);
    }

    @Override
    public String toString() {
        Table table = Table.ofText("setting", "value", "from");
        settings.forEach((key, setting) -> table.add(key, setting.value(), setting.source()));
        return table.toString();
    }
}
