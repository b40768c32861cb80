package io.github.drakegpt.cli;

import io.github.drakegpt.data.CharTokenizer;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/**
 * The command line: {@code java -jar target/drakegpt.jar COMMAND}.
 *
 * <p>Exit codes: 0 done, 1 failed, 2 bad usage. A command's result goes to stdout, everything else to stderr. An error
 * is one sentence that says what is wrong and what to do; its stack trace is shown with {@code --debug}.
 */
@Command(
        mixinStandardHelpOptions = true,
        versionProvider = Main.Version.class,
        description = "Trains small GPTs on song lyrics, from a bigram table to a transformer, and samples from them.",
        synopsisSubcommandLabel = "COMMAND")
public final class Main implements Callable<Integer> {
    static final List<Class<?>> COMMANDS = List.of(
            SetupCommand.class,
            JourneyCommand.class,
            TrainCommand.class,
            GenerateCommand.class,
            ScoreCommand.class,
            QuantizeCommand.class,
            ImportCommand.class,
            ExportCommand.class,
            BenchCommand.class,
            ProfileCommand.class,
            ListCommand.class,
            ReportCommand.class,
            DoctorCommand.class,
            CleanCommand.class,
            CompletionCommand.class);

    /** The message when stdout is closed, or its disk is full. */
    static final String OUTPUT_CLOSED = "The output could not be written to its end; see where stdout goes.";

    /** What Java puts for bytes of an argument that are no character in the locale's encoding. */
    private static final char UNREADABLE = '\uFFFD';

    @Option(names = "--debug", scope = ScopeType.INHERIT, description = "Show the stack trace of an error.")
    private boolean debug;

    @CommandLine.Spec
    private CommandLine.Model.CommandSpec spec;

    /** Runs one command and exits with its code. */
    public static void main(String[] args) {
        // Output is always UTF-8, regardless of Java's idea of the terminal's encoding.
        System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8));
        int code = args.length > 0 && args[0].equals("train") ? runTogether(args) : run(args);
        if (System.out.checkError() && code == 0) {
            System.err.println("drakegpt: " + OUTPUT_CLOSED);
            code = 1;
        }
        Interrupts.exit(code);
    }

    /** Runs one command that may be one of several processes, of which only the first prints. */
    private static int runTogether(String[] args) {
        try {
            Processes.hush();
        } catch (IOException | IllegalArgumentException e) {
            System.err.println("drakegpt: " + CharTokenizer.printableLines(sentence(e)));
            return 1;
        }
        return run(args);
    }

    /** Runs one command and returns its exit code; tests call this. */
    static int run(String... args) {
        LogConfigurator.use();
        Main main = new Main();
        if (Arrays.stream(args).anyMatch(arg -> arg.indexOf(UNREADABLE) >= 0)) {
            return main.report(
                    new IllegalArgumentException("An argument has characters that Java could not read in this"
                            + " locale (" + System.getProperty("sun.jnu.encoding")
                            + "); set LC_ALL=C.UTF-8, or write the text into a file."));
        }
        CommandLine commandLine = new CommandLine(main).setCommandName(program());
        commands(args).forEach(commandLine::addSubcommand);
        try {
            return commandLine
                    .setCaseInsensitiveEnumValuesAllowed(true)
                    .setExpandAtFiles(false) // a prompt may begin with @
                    .setParameterExceptionHandler((e, arguments) -> main.reportUsage(e))
                    .setExecutionExceptionHandler((e, command, parsed) -> main.report(e))
                    .execute(args);
        } catch (Error e) { // picocli handles exceptions only
            return main.report(e);
        }
    }

    /** The command that is called, or all of them: picocli takes ten milliseconds to read the options of one. */
    private static List<Class<?>> commands(String[] args) {
        List<Class<?>> named = COMMANDS.stream()
                .filter(command -> args.length > 0
                        && command.getSimpleName().toLowerCase(Locale.ROOT).equals(args[0] + "command"))
                .toList();
        return named.isEmpty() ? COMMANDS : named;
    }

    private int report(Throwable e) {
        if (debug) {
            e.printStackTrace();
        }
        System.err.println("drakegpt: " + CharTokenizer.printableLines(sentence(e)));
        return e instanceof IllegalArgumentException ? 2 : 1;
    }

    private int reportUsage(CommandLine.ParameterException e) {
        if (debug) {
            e.printStackTrace();
        }
        String message = e instanceof CommandLine.UnmatchedArgumentException unmatched
                ? Suggestions.sentence(unmatched)
                : e.getMessage().replaceFirst("^Error: ", "").lines().collect(Collectors.joining(" "));
        if (!message.endsWith("?")) {
            message += "; see " + e.getCommandLine().getCommandSpec().qualifiedName() + " --help.";
        }
        System.err.println("drakegpt: " + CharTokenizer.printableLines(message));
        return 2;
    }

    @Override
    public Integer call() {
        spec.commandLine().usage(System.err);
        return 2;
    }

    /**
     * The error as a sentence: what is wrong and what to do, also for exceptions of java.nio.file, which name only the
     * file.
     */
    static String sentence(Throwable e) {
        if (e instanceof UncheckedIOException wrapped) {
            return sentence(wrapped.getCause());
        }
        if (e instanceof ExceptionInInitializerError && e.getCause() != null) {
            return sentence(e.getCause());
        }
        if (e instanceof OutOfMemoryError) {
            return "Java ran out of memory; give it more, as in java -Xmx8g -jar ..., or use a smaller text or model.";
        }
        if (e instanceof NoSuchFileException f) {
            return f.getFile() + " does not exist; check the path.";
        }
        if (e instanceof NotDirectoryException f) {
            return f.getFile() + " is not a folder; give the path of a folder.";
        }
        if (e instanceof FileAlreadyExistsException f) {
            return f.getFile() + " is there already and is not a folder; choose another place.";
        }
        if (e instanceof AccessDeniedException f) {
            return "No permission for " + f.getFile() + "; change its permissions or choose another place.";
        }
        if (e instanceof FileSystemException f && f.getReason() != null) {
            return f.getFile() + ": " + f.getReason() + "; mend that and run the command again.";
        }
        String message = e.getMessage();
        return message == null ? e + " (run again with --debug and report it)" : message;
    }

    /** What a user types to run this program from where it was run. */
    static String program() {
        String launcher = System.getProperty("drakegpt.command");
        if (launcher != null) {
            return Shell.quoted(launcher);
        }
        String classPath = System.getProperty("java.class.path");
        boolean jar = classPath.endsWith(".jar") && !classPath.contains(File.pathSeparator);
        return jar ? "java -jar " + Shell.quoted(classPath) : "drakegpt";
    }

    /** The project's version, which only the jar knows. */
    static String version() {
        String version = Main.class.getPackage().getImplementationVersion();
        return version == null ? "(not packaged)" : version;
    }

    static final class Version implements CommandLine.IVersionProvider {
        @Override
        public String[] getVersion() {
            return new String[] {"drakegpt " + version()};
        }
    }
}
