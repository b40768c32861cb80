package io.github.drakegpt.data;

import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PushbackReader;
import java.io.Reader;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.StringJoiner;
import java.util.stream.Collectors;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;
import org.apache.commons.csv.CSVException;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVParser;
import org.apache.commons.csv.CSVRecord;

/**
 * The text in a file: plain text, or one column of a CSV file (told by its name), either of them also gzipped (told by
 * its first bytes). UTF-8 only; a byte order mark is dropped, {@code \r\n} and a single {@code \r} become {@code \n}.
 * Columns are separated by what separates most of the headings: commas, semicolons or tabs.
 */
public final class TextSource {
    /** The column that holds the lyrics in the CSV files that the project knows. */
    public static final String LYRIC_COLUMN = "Lyric";

    /** Far more than a small GPT can learn. */
    private static final int MAX_CHARACTERS = 1 << 29;

    private static final String DELIMITERS = ",;\t";
    /** Characters of a CSV file's first line that are looked at to see what separates its columns. */
    private static final int MAX_HEADINGS = 1 << 16;

    private static final int START_BYTES = 64; // enough to tell what a file is

    private static final int MOST_LISTED = 20;
    private static final int MOST_SHOWN = 60;

    private TextSource() {}

    /**
     * Reads a file.
     *
     * @param column the CSV column whose rows are joined with newlines, empty ones skipped; not used for plain text
     * @throws IOException if the file is missing, unreadable, damaged, not UTF-8 text, or has no such column
     */
    public static String read(Path file, String column) throws IOException {
        return read(file, isCsv(file.toString()), file.toString(), column);
    }

    /** Whether a name ends in {@code .csv} or {@code .csv.gz}. */
    public static boolean isCsv(String name) {
        String lower = name.toLowerCase(Locale.ROOT);
        return lower.endsWith(".csv") || lower.endsWith(".csv.gz");
    }

    /** Reads plain text from a stream, see {@link #read(Path, String)}. */
    public static String read(InputStream in, String shownName) throws IOException {
        return read(in, false, shownName, LYRIC_COLUMN);
    }

    /** Like {@link #read(Path, String)}, for a file whose name does not tell its format. */
    static String read(Path file, boolean csv, String shownName, String column) throws IOException {
        if (Files.isDirectory(file)) {
            throw new IOException(shownName + " is a folder; give the path of a text or CSV file.");
        }
        try (InputStream in = Files.newInputStream(file)) {
            return read(in, csv, shownName, column);
        }
    }

    static String read(InputStream in, boolean csv, String shownName, String column) throws IOException {
        try {
            Reader reader = new TextReader(decoded(in, shownName), shownName);
            String text = csv ? csvColumn(reader, shownName, column) : wholeText(reader);
            return withLineFeeds(text);
        } catch (IOException e) {
            throw asSentence(shownName, e);
        }
    }

    /** Ends lines as Unix does, also those of files of Windows and of the first Macintosh. */
    public static String withLineFeeds(String text) {
        return text.replace("\r\n", "\n").replace('\r', '\n');
    }

    private static Reader decoded(InputStream raw, String name) throws IOException {
        BufferedInputStream in = new BufferedInputStream(raw, 1 << 16);
        in.mark(START_BYTES);
        byte[] start = in.readNBytes(START_BYTES);
        in.reset();
        if (GitLfs.isPointer(start)) {
            throw new Refused(GitLfs.message(name));
        }
        boolean gzip = start.length > 1 && start[0] == (byte) 0x1f && start[1] == (byte) 0x8b;
        var decoder = StandardCharsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT);
        PushbackReader reader =
                new PushbackReader(new InputStreamReader(gzip ? new BoundedGzip(in, name) : in, decoder));
        int first = reader.read();
        if (first >= 0 && first != '\uFEFF') {
            reader.unread(first);
        }
        return reader;
    }

    private static String wholeText(Reader reader) throws IOException {
        StringWriter text = new StringWriter();
        reader.transferTo(text);
        return text.toString();
    }

    private static String csvColumn(Reader in, String shownName, String column) throws IOException {
        BufferedReader reader = new BufferedReader(in, MAX_HEADINGS);
        CSVFormat format = CSVFormat.DEFAULT
                .builder()
                .setDelimiter(delimiter(reader))
                .setHeader()
                .setSkipHeaderRecord(true)
                // pandas writes its row numbers under an empty heading.
                .setAllowMissingColumnNames(true)
                .get();
        StringJoiner text = new StringJoiner("\n");
        try (CSVParser rows = CSVParser.parse(reader, format)) {
            List<String> names = rows.getHeaderNames().stream()
                    .filter(name -> !name.isBlank())
                    .toList();
            int count = Collections.frequency(names, column);
            if (count == 0) {
                throw new Refused(
                        shownName + " has no column " + column + "; choose one with --column: " + listed(names) + ".");
            }
            if (count > 1) {
                throw new Refused(
                        shownName + " has " + count + " columns named " + column + "; rename all of them but one.");
            }
            try {
                for (CSVRecord row : rows) {
                    // A row may be cut short, and pandas writes a missing value as nothing.
                    if (row.isSet(column) && !row.get(column).isEmpty()) {
                        text.add(row.get(column));
                    }
                }
            } catch (UncheckedIOException e) { // the iterator cannot throw checked exceptions
                if (e.getCause() instanceof CSVException) {
                    throw malformed(shownName, "in or before line " + rows.getCurrentLineNumber(), e);
                }
                throw e.getCause();
            }
        }
        return text.toString();
    }

    /** The first names, cut where there are many or long ones. */
    private static String listed(List<String> names) {
        String first = names.stream()
                .limit(MOST_LISTED)
                .map(name -> name.length() <= MOST_SHOWN ? name : name.substring(0, MOST_SHOWN) + "...")
                .collect(Collectors.joining(", "));
        return names.size() <= MOST_LISTED ? first : first + " and " + (names.size() - MOST_LISTED) + " more";
    }

    /** The separator that the first line has most of, outside of quotes; a comma where there is none. */
    private static char delimiter(BufferedReader reader) throws IOException {
        reader.mark(MAX_HEADINGS);
        int[] counts = new int[DELIMITERS.length()];
        boolean quoted = false;
        for (int read = 0; read < MAX_HEADINGS - 1; read++) {
            int c = reader.read();
            if (c < 0 || !quoted && (c == '\n' || c == '\r')) {
                break;
            }
            quoted ^= c == '"';
            int delimiter = DELIMITERS.indexOf(c);
            if (!quoted && delimiter >= 0) {
                counts[delimiter]++;
            }
        }
        reader.reset();
        int most = 0;
        for (int i = 1; i < counts.length; i++) {
            most = counts[i] > counts[most] ? i : most;
        }
        return DELIMITERS.charAt(most);
    }

    private static IOException asSentence(String name, IOException e) {
        if (e instanceof CharacterCodingException) {
            return new IOException(
                    name + " is not UTF-8 text (a binary file, or another encoding); convert it to UTF-8 first.", e);
        }
        if (e instanceof ZipException || e instanceof EOFException) {
            return new IOException(name + " is a damaged gzip file (" + e.getMessage() + "); get it again.", e);
        }
        if (e instanceof CSVException) {
            return malformed(name, "in its headings", e);
        }
        if (e instanceof Refused) {
            return e;
        }
        return new IOException("Could not read " + name + ": " + e.getMessage() + "; mend that and try again.", e);
    }

    private static Refused malformed(String name, String where, Throwable cause) {
        Refused refused = new Refused(name + " is not a well-formed CSV file: a quote is missing or out of place "
                + where + "; mend it, or rename it to .txt to use it as it is.");
        refused.initCause(cause);
        return refused;
    }

    /** An error that is a sentence already. */
    private static final class Refused extends IOException {
        Refused(String message) {
            super(message);
        }
    }

    /** Refuses to become far more than lyrics need, which shrink to a third. */
    private static final class BoundedGzip extends GZIPInputStream {
        private static final long ALWAYS = 16 << 20;
        private static final int MAX_RATIO = 100;

        private final String name;

        BoundedGzip(InputStream in, String name) throws IOException {
            super(in, 1 << 16);
            this.name = name;
        }

        @Override
        public int read(byte[] buffer, int offset, int length) throws IOException {
            int count = super.read(buffer, offset, length);
            if (inf.getBytesWritten() > ALWAYS + MAX_RATIO * inf.getBytesRead()) {
                throw new Refused(name + " unpacks to far more than lyrics need; give the text itself.");
            }
            return count;
        }
    }

    /** Refuses content that decodes as UTF-8 but is not text, and texts without end. */
    private static final class TextReader extends Reader {
        private final Reader in;
        private final String name;
        private long characters;
        private long line = 1;

        TextReader(Reader in, String name) {
            this.in = in;
            this.name = name;
        }

        @Override
        public int read(char[] buffer, int offset, int length) throws IOException {
            int count = in.read(buffer, offset, length);
            for (int i = offset; i < offset + count; i++) {
                if (buffer[i] == '\0') {
                    throw new Refused(name + " is not UTF-8 text: it has a NUL character in line " + line
                            + "; remove that, or convert it to UTF-8 if it has another encoding.");
                }
                line += buffer[i] == '\n' ? 1 : 0;
            }
            characters += Math.max(count, 0);
            if (characters > MAX_CHARACTERS) {
                throw new Refused(
                        name + " has more than " + MAX_CHARACTERS + " characters; give a shorter part of it.");
            }
            return count;
        }

        @Override
        public void close() throws IOException {
            in.close();
        }
    }
}
