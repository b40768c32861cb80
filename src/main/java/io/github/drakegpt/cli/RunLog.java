package io.github.drakegpt.cli;

import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.encoder.PatternLayoutEncoder;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.OutputStreamAppender;
import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.channels.Channels;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** While open, everything that is logged also goes to a run's {@code train.log}, with times. */
final class RunLog implements AutoCloseable {
    private final ch.qos.logback.classic.Logger root;
    private final OutputStreamAppender<ILoggingEvent> appender = new OutputStreamAppender<>();

    RunLog(RunFolder run) throws IOException {
        root = (ch.qos.logback.classic.Logger) LoggerFactory.getLogger(Logger.ROOT_LOGGER_NAME);
        LoggerContext context = root.getLoggerContext();
        PatternLayoutEncoder encoder = new PatternLayoutEncoder();
        encoder.setContext(context);
        encoder.setPattern("%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5level %msg%n");
        encoder.start();
        appender.setContext(context);
        appender.setEncoder(encoder);
        appender.setOutputStream(Channels.newOutputStream(run.append(RunFolder.LOG)));
        appender.start();
        root.addAppender(appender);
    }

    @Override
    public void close() {
        root.detachAppender(appender);
        appender.stop();
    }
}
