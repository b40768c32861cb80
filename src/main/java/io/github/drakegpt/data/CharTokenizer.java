package io.github.drakegpt.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Characters to token ids and back. A character is a Unicode code point, never a Java char; its id is its place in the
 * sorted set of the characters of a text.
 */
public final class CharTokenizer {
    /** Number of values of an unsigned 16-bit token. */
    public static final int MAX_SIZE = 65_536;

    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final int NAMED_IN_ERROR = 10;

    private final int[] codePoints;

    private CharTokenizer(int[] codePoints) {
        this.codePoints = codePoints;
    }

    /**
     * The vocabulary of a text.
     *
     * @throws IllegalArgumentException if the text is empty, has half a surrogate pair, or more than {@value #MAX_SIZE}
     *     different characters
     */
    public static CharTokenizer of(String text) {
        BitSet seen = new BitSet();
        text.codePoints().forEach(seen::set);
        if (seen.isEmpty()) {
            throw new IllegalArgumentException("The text is empty; give one that has characters.");
        }
        int surrogate = seen.nextSetBit(Character.MIN_SURROGATE);
        if (surrogate >= 0 && surrogate <= Character.MAX_SURROGATE) {
            throw new IllegalArgumentException("The text has half a surrogate pair (" + printable(surrogate)
                    + "), which is no character; read it again as valid Unicode.");
        }
        if (seen.cardinality() > MAX_SIZE) {
            throw new IllegalArgumentException("The text has " + seen.cardinality()
                    + " different characters and a vocabulary holds at most " + MAX_SIZE + "; give a plainer text.");
        }
        return new CharTokenizer(seen.stream().toArray());
    }

    /**
     * Reads {@code vocab.json}: a JSON array of one-character strings in id order, UTF-8.
     *
     * @throws IOException if the file is missing or damaged
     */
    public static CharTokenizer read(Path file) throws IOException {
        JsonNode array;
        try {
            array = JSON.readTree(Files.readAllBytes(file));
        } catch (JsonProcessingException e) {
            throw damaged(file, "is not JSON", e);
        }
        if (!array.isArray() || array.isEmpty() || array.size() > MAX_SIZE) {
            throw damaged(file, "is not a JSON array of 1 to " + MAX_SIZE + " characters", null);
        }
        int[] codePoints = new int[array.size()];
        for (int id = 0; id < codePoints.length; id++) {
            String character = array.get(id).isTextual() ? array.get(id).textValue() : "";
            if (character.isEmpty() || character.codePointCount(0, character.length()) != 1) {
                throw damaged(file, "has an entry that is not one character (number " + id + ")", null);
            }
            codePoints[id] = character.codePointAt(0);
            if (id > 0 && codePoints[id] <= codePoints[id - 1]) {
                throw damaged(file, "is not sorted or has a character twice (number " + id + ")", null);
            }
        }
        return new CharTokenizer(codePoints);
    }

    /** Writes {@code vocab.json}, see {@link #json}; whole or not at all. */
    public void write(Path file) throws IOException {
        AtomicFiles.write(file, json());
    }

    /** The content of {@code vocab.json}: a JSON array of one-character strings in id order, UTF-8. */
    public byte[] json() throws IOException {
        List<String> characters =
                Arrays.stream(codePoints).mapToObj(Character::toString).toList();
        return (JSON.writeValueAsString(characters) + "\n").getBytes(StandardCharsets.UTF_8);
    }

    /** How many different characters there are; ids go from 0 to this less 1. */
    public int size() {
        return codePoints.length;
    }

    /** All characters in id order. */
    public String characters() {
        return new String(codePoints, 0, codePoints.length);
    }

    /** The prompt of a model that has seen no text yet: a line break, as at the start of a line. */
    public int[] emptyPrompt() {
        return characters().indexOf('\n') >= 0 ? encode("\n") : new int[] {0};
    }

    /**
     * The ids of a text's characters.
     *
     * @throws IllegalArgumentException if a character is not in the vocabulary; the message names those that are not
     */
    public int[] encode(String text) {
        int[] ids = text.codePoints().map(this::id).toArray();
        if (Arrays.stream(ids).anyMatch(id -> id < 0)) {
            throw new IllegalArgumentException(unknown(text));
        }
        return ids;
    }

    /**
     * The text of a sequence of ids.
     *
     * @throws IllegalArgumentException if an id is outside the vocabulary
     */
    public String decode(int[] ids) {
        StringBuilder text = new StringBuilder(ids.length);
        for (int id : ids) {
            text.appendCodePoint(codePoint(id));
        }
        return text.toString();
    }

    /**
     * The character of one id (a string of one or two Java chars).
     *
     * @throws IllegalArgumentException if the id is outside the vocabulary
     */
    public String decode(int id) {
        return Character.toString(codePoint(id));
    }

    int codePoint(int id) {
        if (id < 0 || id >= codePoints.length) {
            throw new IllegalArgumentException("Token " + id + " is outside the vocabulary of " + codePoints.length
                    + " characters; use the vocabulary that the tokens were made with.");
        }
        return codePoints[id];
    }

    /** The id of a character, negative where the vocabulary has none. */
    int id(int codePoint) {
        return Arrays.binarySearch(codePoints, codePoint);
    }

    private String unknown(String text) {
        int[] missing =
                text.codePoints().filter(c -> id(c) < 0).distinct().sorted().toArray();
        String named = Arrays.stream(missing)
                .limit(NAMED_IN_ERROR)
                .mapToObj(c -> "'" + printable(c) + "'")
                .collect(Collectors.joining(", "));
        String more = missing.length > NAMED_IN_ERROR ? " and " + (missing.length - NAMED_IN_ERROR) + " more" : "";
        return "Not in the vocabulary: " + named + more
                + "; leave such characters out, or train on a corpus that has them.";
    }

    /** The text with invisible characters, and those that would move a terminal's cursor, written as escapes. */
    public static String printable(String text) {
        return text.codePoints().mapToObj(CharTokenizer::printable).collect(Collectors.joining());
    }

    /** The same, except that line feeds and tabs stay. */
    public static String printableLines(String text) {
        return text.codePoints()
                .mapToObj(c -> c == '\n' || c == '\t' ? Character.toString(c) : printable(c))
                .collect(Collectors.joining());
    }

    private static String printable(int codePoint) {
        if (codePoint == '\n') {
            return "\\n";
        }
        if (codePoint == '\t') {
            return "\\t";
        }
        return switch (Character.getType(codePoint)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR,
                    Character.UNASSIGNED -> String.format("\\u%04x", codePoint);
            default -> Character.toString(codePoint);
        };
    }

    private static IOException damaged(Path file, String why, Exception cause) {
        return new IOException(file + " " + why + "; run setup again to write it anew.", cause);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CharTokenizer that && Arrays.equals(codePoints, that.codePoints);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(codePoints);
    }

    @Override
    public String toString() {
        return printable(characters());
    }
}
