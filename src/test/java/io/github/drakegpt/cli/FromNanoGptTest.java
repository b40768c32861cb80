package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.train.Settings;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** docs/from-nanogpt.md names settings, options and commands that there are. */
class FromNanoGptTest {
    private static final Pattern SETTING = Pattern.compile("`((?:model|train|device)\\.(?!bin)[a-z_]+)(?:=[a-z]+)?`");
    private static final Pattern COMMAND = Pattern.compile("`scripts/drakegpt ([a-z]+)([^`]*)`");
    private static final Pattern OPTION = Pattern.compile("--[a-z-]+");

    @TempDir
    Path temp;

    private String page;

    @BeforeEach
    void read() throws IOException {
        page = Files.readString(Path.of("docs/from-nanogpt.md"));
    }

    private Settings baby() throws IOException {
        int begin = page.indexOf("```yaml\n") + "```yaml\n".length();
        Path yaml = Files.writeString(temp.resolve("baby.yaml"), page.substring(begin, page.indexOf("```", begin)));
        return new Settings().overlay(yaml.toString());
    }

    @Test
    void itsSettingsAreThoseOfTheExample() throws IOException {
        ObjectNode config = baby().config(65);
        assertThat(config.at("/model/context_length").asInt()).isEqualTo(256);
        assertThat(config.at("/train/batch_size").asInt()).isEqualTo(64);
        assertThat(baby().train().iters()).isEqualTo(5000);
        assertThat(LanguageModel.parametersOf(baby().model(65)).count()).isBetween(10_750_000L, 10_849_999L);
    }

    @Test
    void itNamesSettingsThatThereAre() {
        Set<String> known = RunFolder.settings(new Settings().config(65)).keySet();
        Set<String> named = new TreeSet<>(
                SETTING.matcher(page).results().map(match -> match.group(1)).toList());
        assertThat(named).hasSizeGreaterThan(10);
        assertThat(known).containsAll(named);
    }

    /** Each command's help has each option that the page gives it. */
    @Test
    void itsCommandsHaveTheirOptions() {
        List<MatchResult> commands = COMMAND.matcher(page).results().toList();
        assertThat(commands).hasSizeGreaterThan(8);
        for (MatchResult command : commands) {
            Cli.Result help = Cli.run(command.group(1), "--help");
            assertThat(help.code()).as(command.group()).isZero();
            List<String> options = OPTION.matcher(command.group(2))
                    .results()
                    .map(MatchResult::group)
                    .toList();
            assertThat(options)
                    .as(command.group())
                    .allSatisfy(option -> assertThat(help.out()).contains(option));
        }
    }
}
