package io.github.drakegpt.cli;

import io.github.drakegpt.data.Nearest;
import io.github.drakegpt.train.Settings;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import picocli.CommandLine;
import picocli.CommandLine.UnmatchedArgumentException;

/** What someone may have meant who gave a command or an option that is not there. */
final class Suggestions {
    /** Names that other programs have for our options. */
    private static final Map<String, String> OPTIONS = Map.ofEntries(
            Map.entry("max_new_tokens", "--length"),
            Map.entry("max_tokens", "--length"),
            Map.entry("start", "--prompt"),
            Map.entry("n", "--num-samples"),
            Map.entry("max_iters", "--iters"),
            Map.entry("max_steps", "--iters"),
            Map.entry("steps", "--iters"),
            Map.entry("out_dir", "--run"),
            Map.entry("output_dir", "--run"),
            Map.entry("dataset", "--data"),
            Map.entry("dtype", "--precision"),
            Map.entry("gpu", "--device"));

    private Suggestions() {}

    /** The error as a sentence without its end, and the suggestion if there is one. */
    static String sentence(UnmatchedArgumentException e) {
        String given = e.getUnmatched().get(0);
        String command = e.getCommandLine().getCommandSpec().qualifiedName();
        if (!given.startsWith("-")) {
            Set<String> commands = e.getCommandLine().getSubcommands().keySet();
            return commands.isEmpty()
                    ? command + " takes no " + given
                    : "There is no command " + given + "; did you mean "
                            + Nearest.names(given, commands, 1).get(0) + "?";
        }
        String name = given.replaceFirst("=.*", "");
        String sentence = command + " has no option " + name;
        return option(name, e.getCommandLine())
                .map(option -> sentence + "; did you mean " + option + "?")
                .orElse(sentence);
    }

    private static Optional<String> option(String given, CommandLine command) {
        String plain = given.replaceFirst("^-+", "").replace('-', '_');
        Set<String> options = command.getCommandSpec().optionsMap().keySet();
        String other = OPTIONS.get(plain);
        if (other != null && options.contains(other)) {
            return Optional.of(other);
        }
        String written = "--" + plain.replace('_', '-');
        if (options.contains(written)) {
            return Optional.of(written);
        }
        if (options.contains("--set")) {
            Optional<String> key = Settings.keyOf(plain);
            if (key.isPresent()) {
                return Optional.of("--set " + key.get() + "=...");
            }
        }
        List<String> nearest = Nearest.names(written, options, 1);
        return nearest.stream().filter(name -> alike(name, written)).findFirst();
    }

    /** Whether more is the same than is not. */
    private static boolean alike(String name, String written) {
        return 2 * Nearest.distance(written, name) < Math.max(name.length(), written.length());
    }
}
