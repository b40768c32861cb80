package io.github.drakegpt.data;

import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.PrimitiveIterator;

/**
 * A text as tokens, split into the first 90 percent to train on and the rest to validate on.
 *
 * <p>On disk it is a folder of {@code input.txt} (the text, UTF-8, for people to read), {@code train.bin} and
 * {@code val.bin} (token ids, unsigned 16-bit little endian) and {@code vocab.json} (see {@link CharTokenizer#write}).
 */
public final class Corpus {
    static final String INPUT = "input.txt";
    /** The file that a folder has if it is a corpus. */
    public static final String TRAIN = "train.bin";

    static final String VAL = "val.bin";
    static final String VOCAB = "vocab.json";
    private static final List<String> READ = List.of(TRAIN, VAL, VOCAB);

    private final String name;
    private final CharTokenizer tokenizer;
    private final char[] train;
    private final char[] val;

    private Corpus(String name, CharTokenizer tokenizer, char[] train, char[] val) {
        this.name = name;
        this.tokenizer = tokenizer;
        this.train = train;
        this.val = val;
    }

    /**
     * Makes a corpus in memory.
     *
     * @throws IllegalArgumentException if the text has fewer than two characters, or too many different ones (see
     *     {@link CharTokenizer#of})
     */
    public static Corpus prepare(String text) {
        return prepare("a text in memory", text);
    }

    /** Like {@link #prepare(String)}, with a name for messages. */
    public static Corpus prepare(String name, String text) {
        CharTokenizer tokenizer = CharTokenizer.of(text);
        int length = text.codePointCount(0, text.length());
        if (length < 2) {
            throw new IllegalArgumentException(
                    "The text has one character, too few to split into train and val; give a longer one.");
        }
        int trained = (int) (0.9 * length);
        char[] train = new char[trained];
        char[] val = new char[length - trained];
        PrimitiveIterator.OfInt characters = text.codePoints().iterator();
        for (char[] part : new char[][] {train, val}) {
            for (int i = 0; i < part.length; i++) {
                part[i] = (char) tokenizer.id(characters.nextInt());
            }
        }
        return new Corpus(name, tokenizer, train, val);
    }

    /**
     * Reads a folder that {@link #write} or {@code setup} wrote; its path becomes the name. {@code input.txt} is not
     * needed.
     *
     * @throws IOException if the folder or a file is missing, or a file is damaged; the message says which and what to do
     */
    public static Corpus read(Path folder) throws IOException {
        if (!Files.exists(folder)) {
            throw new NoSuchFileException(folder.toString());
        }
        if (!Files.isDirectory(folder)) {
            throw new NotDirectoryException(folder.toString());
        }
        if (Files.exists(folder.resolve(INPUT)) && !Files.exists(folder.resolve(TRAIN))) {
            throw new IOException(folder + " has a text but no tokens; run setup --source " + folder.resolve(INPUT)
                    + " and use the folder that it names.");
        }
        for (String file : READ) {
            if (!Files.exists(folder.resolve(file))) {
                throw new IOException(folder + " has no " + file
                        + ", so it is no prepared corpus; run setup, or give the folder that setup named.");
            }
        }
        Map<String, String> sums =
                CorpusInfo.read(folder).map(CorpusInfo::sha256).orElse(Map.of());
        for (String file : READ) {
            Path path = folder.resolve(file);
            if (sums.containsKey(file) && !Sha256.of(path).equals(sums.get(file))) {
                throw new IOException(path + " has changed since setup wrote it: its SHA-256 sum is not the one in "
                        + CorpusInfo.FILE + "; run setup again, or remove the sum there if you changed it yourself.");
            }
        }
        CharTokenizer tokenizer = CharTokenizer.read(folder.resolve(VOCAB));
        return new Corpus(
                folder.toString(),
                tokenizer,
                readTokens(folder.resolve(TRAIN), tokenizer.size()),
                readTokens(folder.resolve(VAL), tokenizer.size()));
    }

    /**
     * Writes the four files; none takes its name before all are complete.
     *
     * @param folder created if it does not exist
     * @throws IOException if a file cannot be written; if the disk is full, earlier files are unchanged
     */
    public void write(Path folder) throws IOException {
        try (Folder made = Folder.make(folder)) {
            AtomicFiles.writeAll(made, files());
        }
    }

    Map<String, AtomicFiles.Content> files() throws IOException {
        byte[] vocab = tokenizer.json();
        Map<String, AtomicFiles.Content> files = new LinkedHashMap<>();
        files.put(VOCAB, out -> out.write(vocab));
        files.put(INPUT, this::writeText);
        files.put(TRAIN, out -> writeTokens(train, out));
        files.put(VAL, out -> writeTokens(val, out));
        return files;
    }

    /** Its name in messages: the path of its folder as the user gave it, or a few words. */
    public String name() {
        return name;
    }

    /** The characters and their ids. */
    public CharTokenizer tokenizer() {
        return tokenizer;
    }

    /** The tokens to train on: a Java char is an unsigned 16-bit id. The array itself, not a copy. */
    public char[] train() {
        return train;
    }

    /** The tokens to validate on, like {@link #train()}. */
    public char[] val() {
        return val;
    }

    /** A copy of {@link #val()} in the form that models read. */
    public int[] validationTokens() {
        int[] tokens = new int[val.length];
        Arrays.setAll(tokens, i -> val[i]);
        return tokens;
    }

    /** SHA-256 of the vocabulary and of all tokens: equal for equal corpora, wherever they lie. */
    public String sha256() throws IOException {
        return Sha256.of(out -> {
            out.write(tokenizer.characters().getBytes(StandardCharsets.UTF_8));
            for (char[] split : new char[][] {train, val}) {
                ByteBuffer bytes = ByteBuffer.allocate(2 * split.length).order(ByteOrder.LITTLE_ENDIAN);
                bytes.asCharBuffer().put(split);
                out.write(bytes.array());
            }
        });
    }

    private void writeText(OutputStream out) throws IOException {
        Writer writer = new OutputStreamWriter(out, StandardCharsets.UTF_8);
        for (char[] part : new char[][] {train, val}) {
            for (char token : part) {
                writer.write(tokenizer.decode(token));
            }
        }
        writer.flush();
    }

    private static void writeTokens(char[] tokens, OutputStream out) throws IOException {
        for (char token : tokens) {
            out.write(token & 0xff);
            out.write(token >>> 8);
        }
    }

    private static char[] readTokens(Path file, int vocabulary) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        if (GitLfs.isPointer(bytes)) {
            throw new IOException(GitLfs.message(file.toString()));
        }
        if (bytes.length == 0 || bytes.length % 2 != 0) {
            throw new IOException(file + " has " + bytes.length
                    + " bytes, which is no sequence of 16-bit tokens; run setup again to write it anew.");
        }
        char[] tokens = new char[bytes.length / 2];
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asCharBuffer().get(tokens);
        for (char token : tokens) {
            if (token >= vocabulary) {
                throw new IOException(file + " has token " + (int) token + ", but " + VOCAB + " beside it has only "
                        + vocabulary + " characters; run setup again to write both anew.");
            }
        }
        return tokens;
    }
}
