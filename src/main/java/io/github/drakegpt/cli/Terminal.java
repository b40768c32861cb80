package io.github.drakegpt.cli;

import io.github.drakegpt.data.CharTokenizer;
import java.io.Console;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** The terminal that this program runs in, if there is one. */
final class Terminal {
    private static final int USUAL_WIDTH = 80;

    private Terminal() {}

    /** Its current width in characters, from {@code stty}; 80 where that fails. */
    static int width() {
        try {
            Process stty = new ProcessBuilder("stty", "size")
                    .redirectInput(ProcessBuilder.Redirect.INHERIT)
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            String size = new String(stty.getInputStream().readAllBytes(), StandardCharsets.US_ASCII).strip();
            return size.matches("\\d+ [1-9]\\d{0,4}") ? Integer.parseInt(size.split(" ")[1]) : USUAL_WIDTH;
        } catch (IOException e) {
            return USUAL_WIDTH; // Windows
        }
    }

    /** Whether there is a terminal with control sequences, so that a progress bar can be drawn. */
    static boolean canDraw() {
        return isPresent() && !"dumb".equals(System.getenv("TERM"));
    }

    /** Whether it supports colours and the user allows them (no-color.org). */
    static boolean hasColors() {
        String noColor = System.getenv("NO_COLOR");
        return canDraw() && (noColor == null || noColor.isEmpty());
    }

    /** A text that others have written, for standard output: on a terminal without what would control it. */
    static String shown(String text) {
        return isPresent() ? CharTokenizer.printableLines(text) : text;
    }

    /** True where questions can be asked. */
    static boolean isPresent() {
        Console console = System.console();
        if (console == null) {
            return false;
        }
        // Since Java 22 there is a console even where input and output are files; isTerminal() tells them apart.
        if (Runtime.version().feature() < 22) {
            return true;
        }
        try {
            return (boolean) Console.class.getMethod("isTerminal").invoke(console);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("Console.isTerminal is missing from this Java", e);
        }
    }
}
