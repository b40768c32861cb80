package io.github.drakegpt.cli;

import java.util.concurrent.Callable;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** {@code completion}: the script by which a shell completes commands and options. */
@Command(
        name = "completion",
        mixinStandardHelpOptions = true,
        description = "Prints a script by which bash and zsh complete commands, options and their values.",
        footer = {"", "Example:", "  source <(${COMMAND-FULL-NAME})"})
final class CompletionCommand implements Callable<Integer> {
    @Override
    public Integer call() {
        // by its last name, under which a shell finds the function of a command that is given by its path
        CommandLine all = new CommandLine(new Main()).setCommandName("drakegpt");
        Main.COMMANDS.forEach(all::addSubcommand);
        System.out.print(AutoComplete.bash("drakegpt", all));
        return 0;
    }
}
