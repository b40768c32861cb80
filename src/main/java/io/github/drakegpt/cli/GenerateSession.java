package io.github.drakegpt.cli;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.ops.Sampling;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.UserInterruptException;
import org.jline.reader.impl.completer.StringsCompleter;
import org.jline.terminal.TerminalBuilder;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code generate --interactive}: a text for each line that is entered. Where there is no terminal, lines are read from
 * standard input as they are.
 */
final class GenerateSession {
    private static final Logger log = LoggerFactory.getLogger(GenerateSession.class);
    private static final String HELP = """
            A line is continued; an empty one goes on with the last text. Ctrl-C ends a text, Ctrl-D the session.
              /temperature X   divides the logits; 0 always takes the most likely character
              /top-k N         draw only from the N most likely characters; 0 for all
              /top-p X         draw only from the most likely characters that together have this probability
              /length N        characters to generate
              /seed N          begin again with this seed
              /stop TEXT       end a text before this one; without TEXT, at its full length
              /settings        show all of these
              /quit            end
            A prompt that begins with / is written with //.""";
    private static final List<String> COMMANDS = HELP.lines()
            .map(String::strip)
            .filter(line -> line.startsWith("/"))
            .map(line -> line.split(" ")[0])
            .toList();

    private final Backend backend;
    private final List<RunFolder> folders;
    private final StringBuilder all = new StringBuilder();
    private Path file; // where all is saved, after the first text
    private TextWriter.Request request; // the last one
    private volatile boolean interrupted; // the text that is being written

    /** Where lines come from. */
    @FunctionalInterface
    interface Lines {
        /** The next one, or null after the last. */
        String next() throws IOException;
    }

    /** @param first settings, and a prompt that is not used */
    GenerateSession(Backend backend, List<RunFolder> folders, TextWriter.Request first) {
        this.backend = backend;
        this.folders = folders;
        this.request = first;
    }

    /** Reads lines until there are no more; what was written is saved after each. */
    void run() throws IOException {
        if (!Terminal.isPresent()) {
            run(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))::readLine);
            return;
        }
        try (var terminal = TerminalBuilder.builder().nativeSignals(true).build()) {
            terminal.handle(org.jline.terminal.Terminal.Signal.INT, signal -> interrupted = true);
            LineReader reader = LineReaderBuilder.builder()
                    .terminal(terminal)
                    .completer(new StringsCompleter(COMMANDS))
                    .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true) // ! and \ are characters like others
                    .build();
            log.info("{}", HELP);
            run(() -> next(reader));
        }
    }

    private static String next(LineReader reader) {
        while (true) {
            try {
                return reader.readLine("> ");
            } catch (UserInterruptException e) {
                log.info("Ctrl-D or /quit ends the session.");
            } catch (EndOfFileException e) {
                return null;
            }
        }
    }

    private void run(Lines lines) throws IOException {
        List<TextWriter> writers = new ArrayList<>();
        try {
            for (RunFolder folder : folders) {
                writers.add(new TextWriter(backend, folder));
            }
            String[] last = new String[folders.size()]; // the text so far, of each run
            boolean goesOn = true;
            for (String line = lines.next(); line != null && !line.equals("/quit"); ) {
                try {
                    if (line.startsWith("/") && !line.startsWith("//")) {
                        change(line);
                    } else {
                        goesOn = write(writers, last, line.startsWith("//") ? line.substring(1) : line);
                    }
                } catch (IllegalArgumentException e) {
                    log.warn("{}", e.getMessage());
                }
                line = goesOn ? lines.next() : null;
            }
        } finally {
            writers.forEach(TextWriter::close);
            if (file != null) {
                log.info("Saved as {}", file);
            }
        }
    }

    /** Returns whether the session goes on: not if the process is being ended. */
    private boolean write(List<TextWriter> writers, String[] last, String line) throws IOException {
        for (RunFolder folder : folders) {
            folder.tokenizer().encode(line); // refused before anything is written
        }
        interrupted = false;
        try (Interrupts ending = new Interrupts()) {
            for (int run = 0; run < writers.size(); run++) {
                if (writers.size() > 1) {
                    GenerateCommand.print(all, GenerateCommand.heading(folders.get(run)) + "\n");
                }
                String prompt = line.isEmpty() && last[run] != null ? last[run] : line;
                GenerateCommand.print(all, line);
                TextWriter.Text text = writers.get(run)
                        .write(
                                request.withPrompt(prompt),
                                piece -> GenerateCommand.print(all, piece),
                                () -> interrupted || ending.getAsBoolean());
                GenerateCommand.print(all, "\n");
                last[run] = prompt + text.text();
            }
            file = GenerateCommand.save(file, folders, all.toString());
            request = request.withSample(request.sample() + 1); // the next text is another one
            return !ending.getAsBoolean();
        }
    }

    private void change(String line) {
        String name = line.split("\\s", 2)[0];
        String value = line.substring(name.length()).strip();
        Sampling now = request.sampling();
        switch (name) {
            case "/temperature" ->
                request = request.withSampling(new Sampling(real(name, value), now.topK(), now.topP()));
            case "/top-k" ->
                request = request.withSampling(new Sampling(now.temperature(), whole(name, value), now.topP()));
            case "/top-p" ->
                request = request.withSampling(new Sampling(now.temperature(), now.topK(), real(name, value)));
            case "/length" -> request = request.withLength(whole(name, value));
            case "/seed" -> request = request.withSeed(whole(name, value));
            case "/stop" ->
                request = request.withStop(value.isEmpty() ? List.of() : List.of(GenerateCommand.unescaped(value)));
            case "/settings" -> {}
            case "/help" -> {
                log.info("{}", HELP);
                return;
            }
            default -> throw new IllegalArgumentException("There is no " + name + "; /help lists what there is.");
        }
        log.info(
                "temperature {}, top-k {}, top-p {}, length {}, seed {}, stop {}",
                request.sampling().temperature(),
                request.sampling().topK(),
                request.sampling().topP(),
                request.length(),
                request.seed(),
                request.stop());
    }

    private static float real(String name, String value) {
        try {
            return Float.parseFloat(value);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(name + " needs a number, as in " + name + " 0.8.", e);
        }
    }

    private static int whole(String name, String value) {
        try {
            return Integer.parseUnsignedInt(value);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(name + " needs a whole number, as in " + name + " 40.", e);
        }
    }
}
