package io.github.drakegpt.checkpoint;

import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.data.TextSource;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;

/**
 * The characters of a model from elsewhere, in the order of their ids there. Here ids follow the characters' order, so rows
 * of weights that belong to characters are sorted likewise.
 */
public final class ImportedVocabulary {
    private static final byte PICKLE_MAGIC = (byte) 0x80;

    private final CharTokenizer tokenizer;
    private final int[] order; // order[id here] is the id there
    private final Corpus corpus; // or null

    private ImportedVocabulary(Path file, int[] codePoints, int size, Corpus corpus) throws ForeignFileException {
        if (codePoints.length != size) {
            throw new ForeignFileException(
                    file,
                    "has " + codePoints.length + " characters where the model has " + size,
                    "give the vocabulary that it was trained with");
        }
        int[] sorted = Arrays.stream(codePoints).sorted().distinct().toArray();
        if (sorted.length != size) {
            throw new ForeignFileException(file, "has a character twice", "give one that has each once");
        }
        this.tokenizer = CharTokenizer.of(new String(sorted, 0, sorted.length));
        this.order = new int[size];
        for (int id = 0; id < size; id++) {
            order[Arrays.binarySearch(sorted, codePoints[id])] = id;
        }
        this.corpus = corpus;
    }

    /**
     * Reads a vocabulary: the folder of a corpus or of a run; a {@code vocab.json}; nanoGPT's {@code meta.pkl}; a text in
     * which each character is there once, in the order of their ids; or any other text, as the corpus that it was made from.
     *
     * @param size V, of the model
     * @throws CorruptFileException if a pickle does not follow its format
     * @throws ForeignFileException if it has another size
     * @throws IOException if it is missing or damaged
     */
    public static ImportedVocabulary read(Path path, int size) throws IOException {
        if (Files.isDirectory(path)) {
            Corpus corpus = Files.exists(path.resolve(Corpus.TRAIN)) ? Corpus.read(path) : null;
            CharTokenizer tokenizer =
                    corpus == null ? CharTokenizer.read(path.resolve(RunFolder.VOCAB)) : corpus.tokenizer();
            return new ImportedVocabulary(path, codePoints(tokenizer), size, corpus);
        }
        if (path.toString().endsWith(".json")) {
            return new ImportedVocabulary(path, codePoints(CharTokenizer.read(path)), size, null);
        }
        try (InputStream in = Files.newInputStream(path)) {
            if (in.read() == (PICKLE_MAGIC & 0xFF)) {
                return new ImportedVocabulary(path, fromMeta(path), size, null);
            }
        }
        String text = TextSource.read(path, TextSource.LYRIC_COLUMN);
        int[] list = text.codePoints().toArray();
        boolean ended = list.length == size + 1 && list[size] == '\n'; // as editors do
        int[] distinct = text.codePoints().sorted().distinct().toArray();
        if (distinct.length == list.length || ended && distinct.length == size) {
            return new ImportedVocabulary(path, Arrays.copyOf(list, distinct.length), size, null);
        }
        return new ImportedVocabulary(
                path, distinct, size, distinct.length == size ? Corpus.prepare(path.toString(), text) : null);
    }

    private static int[] codePoints(CharTokenizer tokenizer) {
        return tokenizer.characters().codePoints().toArray();
    }

    /** The characters in nanoGPT's {@code meta.pkl}: a dictionary whose {@code itos} has the character of each id. */
    private static int[] fromMeta(Path file) throws IOException {
        Object meta = Unpickler.read(file, ByteBuffer.wrap(Files.readAllBytes(file)), new PlainData(file));
        if (!(meta instanceof Map<?, ?> dictionary) || !(dictionary.get("itos") instanceof Map<?, ?> characters)) {
            throw new ForeignFileException(file, "has no dictionary itos", PlainData.WRITE_IT);
        }
        int[] codePoints = new int[characters.size()];
        for (int id = 0; id < codePoints.length; id++) {
            if (!(characters.get((long) id) instanceof String character)
                    || character.codePointCount(0, character.length()) != 1) {
                throw new ForeignFileException(file, "has no one character for id " + id, PlainData.WRITE_IT);
            }
            codePoints[id] = character.codePointAt(0);
        }
        return codePoints;
    }

    /** Nothing has a name in plain data. */
    private record PlainData(Path file) implements Unpickler.Names {
        static final String WRITE_IT = "write it as nanoGPT's data/shakespeare_char/prepare.py does";

        @Override
        public Object global(String name) throws IOException {
            throw refused("refers to Python's " + name);
        }

        @Override
        public Object persistent(Object id) throws IOException {
            throw refused("refers to another file");
        }

        @Override
        public ForeignFileException refused(String why) {
            return new ForeignFileException(file, why + ", which no meta.pkl needs", WRITE_IT);
        }
    }

    /** The same characters with the ids that they have here. */
    public CharTokenizer tokenizer() {
        return tokenizer;
    }

    /** The corpus that it was read from, if it was. */
    public Optional<Corpus> corpus() {
        return Optional.ofNullable(corpus);
    }

    /** (V, ...) with each character's row where its id here says. */
    float[] sortRows(float[] rows) {
        int width = rows.length / order.length;
        float[] sorted = new float[rows.length];
        for (int id = 0; id < order.length; id++) {
            System.arraycopy(rows, order[id] * width, sorted, id * width, width);
        }
        return sorted;
    }

    /** (..., V) with each character's column where its id here says. */
    float[] sortColumns(float[] rows) {
        float[] sorted = new float[rows.length];
        for (int row = 0; row < rows.length; row += order.length) {
            for (int id = 0; id < order.length; id++) {
                sorted[row + id] = rows[row + order[id]];
            }
        }
        return sorted;
    }
}
