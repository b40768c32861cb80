package io.github.drakegpt.cli;

import java.io.Console;

/** Whether a person sits in front of this program. */
final class Terminal {
    private Terminal() {}

    /** Whether there is one that understands control sequences, so that a progress bar can be drawn. */
    static boolean canDraw() {
        return isPresent() && !"dumb".equals(System.getenv("TERM"));
    }

    /** Whether it may be written to in colours (no-color.org). */
    static boolean hasColors() {
        String noColor = System.getenv("NO_COLOR");
        return canDraw() && (noColor == null || noColor.isEmpty());
    }

    /** True where questions can be asked. */
    static boolean isPresent() {
        Console console = System.console();
        if (console == null) {
            return false;
        }
        // Since Java 22 there is a console also where input and output are files; it tells by isTerminal().
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
