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
import org.slf4j.Logger;

/**
 * Sends what is logged to stderr. Logback finds it through the {@link java.util.ServiceLoader}, also in a program that
 * embeds the library, which it leaves alone. No XML, since reading that takes Logback a tenth of a second.
 */
public final class LogConfigurator extends ContextAwareBase implements Configurator {
    private static final String PROPERTY = "drakegpt.log";

    /** Has logging begin in the command line's way, in a process that has not logged yet. */
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
        // What would break a progress bar goes only into train.log.
        context.getLogger(Progress.class).setLevel(Level.DEBUG);
        return ExecutionStatus.DO_NOT_INVOKE_NEXT_IF_ANY;
    }

    /** The message, behind its level if that is worth a word. */
    private static final class Line extends LayoutBase<ILoggingEvent> {
        @Override
        public String doLayout(ILoggingEvent event) {
            String level = event.getLevel() == Level.INFO ? "" : event.getLevel() + ": ";
            return level + event.getFormattedMessage() + System.lineSeparator();
        }
    }
}
