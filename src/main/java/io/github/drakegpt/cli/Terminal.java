package io.github.drakegpt.cli;

import java.io.Console;

/** Whether a person sits in front of this program. */
final class Terminal {
    private Terminal() {}

    /** True where progress bars can be drawn and questions be asked. */
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
