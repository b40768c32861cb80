package io.github.drakegpt.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.filter.ThresholdFilter;
import ch.qos.logback.classic.spi.Configurator;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.LayoutBase;
import ch.qos.logback.core.encoder.LayoutWrappingEncoder;
import ch.qos.logback.core.spi.ContextAwareBase;
import io.github.drakegpt.data.CharTokenizer;
import org.slf4j.Logger;

/**
 * Sends log messages to stderr. Logback finds it through the {@link java.util.ServiceLoader}, also in a program that
 * embeds the library, whose logging it does not change. No XML, since reading that takes Logback a tenth of a second.
 */
public final class LogConfigurator extends ContextAwareBase implements Configurator {
    private static final String PROPERTY = "drakegpt.log";

    /** Configures logging for the command line, in a process that has not logged yet. */
    static void use() {
        System.setProperty(PROPERTY, "stderr");
    }

    @Override
    public ExecutionStatus configure(LoggerContext context) {
        if (System.getProperty(PROPERTY) == null) {
            return ExecutionStatus.NEUTRAL;
        }
        ThresholdFilter filter = new ThresholdFilter();
        filter.setLevel(Level.INFO.toString());
        filter.start();
        LayoutWrappingEncoder<ILoggingEvent> encoder = new LayoutWrappingEncoder<>();
        encoder.setContext(context);
        encoder.setLayout(new Line());
        encoder.start();
        ConsoleAppender<ILoggingEvent> stderr = new ConsoleAppender<>();
        stderr.setContext(context);
        stderr.setTarget("System.err");
        stderr.addFilter(filter);
        stderr.setEncoder(encoder);
        stderr.start();
        ch.qos.logback.classic.Logger root = context.getLogger(Logger.ROOT_LOGGER_NAME);
        root.setLevel(Level.INFO);
        root.addAppender(stderr);
        // train.log also gets messages that are not shown.
        context.getLogger(Progress.class).setLevel(Level.DEBUG);
        return ExecutionStatus.DO_NOT_INVOKE_NEXT_IF_ANY;
    }

    /** The message, after its level unless that is INFO; above a progress bar if there is one. */
    private static final class Line extends LayoutBase<ILoggingEvent> {
        private static final String ERASED_LINE = "\r\u001b[K";

        private final boolean colors = Terminal.hasColors();

        @Override
        public String doLayout(ILoggingEvent event) {
            String level = event.getLevel() == Level.INFO ? "" : event.getLevel() + ": ";
            return (Progress.isBarDrawn() ? ERASED_LINE : "")
                    + colored(event, level + CharTokenizer.printableLines(event.getFormattedMessage()))
                    + System.lineSeparator();
        }

        private String colored(ILoggingEvent event, String text) {
            if (!colors) {
                return text;
            }
            return switch (event.getLevel().toInt()) {
                case Level.ERROR_INT -> "\u001b[31m" + text + "\u001b[0m"; // red
                case Level.WARN_INT -> "\u001b[33m" + text + "\u001b[0m"; // yellow
                default ->
                    event.getMarkerList() != null && event.getMarkerList().contains(Progress.QUIET)
                            ? "\u001b[2m" + text + "\u001b[0m" // faint
                            : text;
            };
        }
    }
}
