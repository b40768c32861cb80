package io.github.drakegpt.cli;

import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.data.CorpusFolder;
import io.github.drakegpt.data.CorpusInfo;
import io.github.drakegpt.data.DownloadCache;
import io.github.drakegpt.data.KaggleDataset;
import io.github.drakegpt.data.ProjectHome;
import io.github.drakegpt.data.TextSource;
import io.github.drakegpt.data.UrlSource;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code setup}: gets a text and prepares it for training. */
@Command(
        name = "setup",
        mixinStandardHelpOptions = true,
        description = "Gets a text and writes it as a corpus to train on: input.txt, train.bin, val.bin, vocab.json.",
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} --source sample",
            "  ${COMMAND-FULL-NAME} --source kaggle --artist Rihanna",
            "  ${COMMAND-FULL-NAME} --source my-lyrics.csv --column text --out data/mine",
            "  ${COMMAND-FULL-NAME} --use mine"
        })
final class SetupCommand implements Callable<Integer> {
    private static final Pattern ADDRESS = Pattern.compile("[A-Za-z][A-Za-z0-9+.-]*://.*");
    private static final Logger log = LoggerFactory.getLogger(SetupCommand.class);
    private static final String SAMPLE = "sample";
    private static final int SHOWN_CHARACTERS = 200;
    /** Below that, too little is left to validate on. */
    private static final int LEAST_CHARACTERS = 1_000;
    /** Below that, models of the default size begin to learn the text by heart. */
    private static final int FEW_CHARACTERS = 100_000;

    @ArgGroup(multiplicity = "1")
    private Origin origin;

    private static final class Origin {
        @Option(
                names = "--source",
                paramLabel = "SOURCE",
                description = "'sample' (the bundled lyrics), 'kaggle' (needs a Kaggle token), a FILE (.txt or .csv,"
                        + " either also .gz; UTF-8), or an http(s) address of such a file.")
        private String source;

        @Option(
                names = "--use",
                paramLabel = "NAME",
                description =
                        "Make a corpus under data/ that setup made before, or 'sample', the one in use: that which"
                                + " commands take without --data.")
        private String use;
    }

    private String source;

    @Option(names = "--column", paramLabel = "NAME", description = "Column of a CSV file to read (default: Lyric).")
    private String column;

    @Option(
            names = "--artist",
            paramLabel = "NAME",
            description = "With --source kaggle: whose lyrics (default: Drake).")
    private String artist;

    @Option(
            names = "--out",
            paramLabel = "DIR",
            description = "Folder to write; new, or one that setup made (default: data/ and a name after the source).")
    private Path out;

    @Option(
            names = "--max-download",
            paramLabel = "MB",
            defaultValue = "512",
            description = "Largest download that is taken (default: ${DEFAULT-VALUE}).")
    private int maxDownload;

    /** The text that was read, a name for its source, and the column if there was one. */
    private record Input(String text, String source, String column) {}

    @Override
    public Integer call() throws IOException {
        if (origin.use != null) {
            if (out != null || column != null || artist != null) {
                throw new IllegalArgumentException(
                        "--use takes a corpus as setup made it; give it without other options.");
            }
            if (!origin.use.equals(SAMPLE)) {
                printUse(Corpora.use(origin.use).path());
                return 0;
            }
        }
        source = origin.use == null ? origin.source : SAMPLE;
        if (source.isBlank()) {
            throw new IllegalArgumentException("--source is empty; give sample, kaggle, a file, or a web address.");
        }
        if (maxDownload < 1) {
            throw new IllegalArgumentException("--max-download is " + maxDownload + "; give 1 or more.");
        }
        if (artist != null && !source.equals("kaggle")) {
            throw new IllegalArgumentException("--artist chooses among Kaggle's files; give it with --source kaggle.");
        }
        Optional<UrlSource> url =
                ADDRESS.matcher(source).matches() ? Optional.of(new UrlSource(source)) : Optional.empty();
        CorpusFolder folder = new CorpusFolder(out != null ? out : Corpora.FOLDER.resolve(defaultName(url)));
        folder.checkWritable();
        Optional<CorpusInfo> before = folder.info();

        Input input = read(url);
        if (input.text.codePoints().limit(2).count() < 2) {
            throw new IOException(input.source + (input.column == null ? "" : ", column " + input.column + ",")
                    + " holds no text; give another file or column.");
        }
        Corpus corpus = Corpus.prepare(folder.path().toString(), input.text);
        long characters = corpus.train().length + (long) corpus.val().length;
        if (characters < LEAST_CHARACTERS) {
            throw new IOException(String.format(
                    Locale.ROOT,
                    "%s has only %,d characters, too few to learn from and to validate on; give a text of at least %,d,"
                            + " better of %,d.",
                    input.source,
                    characters,
                    LEAST_CHARACTERS,
                    FEW_CHARACTERS));
        }
        folder.write(
                corpus,
                new CorpusInfo(
                        input.source,
                        input.column,
                        characters,
                        corpus.tokenizer().size(),
                        Instant.now().truncatedTo(ChronoUnit.SECONDS).toString()));
        print(input, corpus, characters, before);
        if (characters < FEW_CHARACTERS) {
            log.warn(String.format(
                    Locale.ROOT,
                    "%,d characters are few: models learn them by heart. Give a text of %,d or more if you can.",
                    characters,
                    FEW_CHARACTERS));
        }
        System.out.println();
        printUse(folder.path());
        return 0;
    }

    private Input read(Optional<UrlSource> url) throws IOException {
        String csvColumn = column == null ? TextSource.LYRIC_COLUMN : column;
        Path cache = Corpora.FOLDER.resolve(DownloadCache.NAME);
        if (url.isPresent()) {
            try (DownloadBar bar = new DownloadBar()) {
                UrlSource.Text text = url.get().read(csvColumn, cache, maxDownload, bar);
                return input(text.text(), url.get().shown(), text.csv(), csvColumn);
            }
        }
        if (source.equals("kaggle")) {
            Path home = Path.of(System.getProperty("user.home"));
            KaggleDataset dataset = new KaggleDataset(KaggleDataset.SITE, cache, System.getenv(), home);
            try (DownloadBar bar = new DownloadBar()) {
                String text = dataset.lyrics(artist(), csvColumn, maxDownload, bar);
                return input(text, "kaggle, artist " + artist(), true, csvColumn);
            }
        }
        Path file = source.equals(SAMPLE) ? ProjectHome.require(ProjectHome.SAMPLE) : Path.of(source);
        return input(TextSource.read(file, csvColumn), file.toString(), TextSource.isCsv(file.toString()), csvColumn);
    }

    private Input input(String text, String name, boolean csv, String csvColumn) {
        if (!csv && column != null) {
            throw new IllegalArgumentException(
                    name + " is read as plain text, which has no columns; leave --column out or give a .csv file.");
        }
        return new Input(text, name, csv ? csvColumn : null);
    }

    private String artist() {
        return artist == null ? "Drake" : artist;
    }

    private String defaultName(Optional<UrlSource> url) {
        if (source.equals(SAMPLE)) {
            return "sample-corpus";
        }
        if (source.equals("kaggle")) {
            return folderName(artist().toLowerCase(Locale.ROOT));
        }
        String file = url.isPresent() ? url.get().fileName() : fileName(Path.of(source));
        return folderName(file.replaceFirst("(?i)(\\.(txt|csv))?(\\.gz)?$", ""));
    }

    private static String fileName(Path path) {
        // The root folder has no name.
        return path.getFileName() == null ? "" : path.getFileName().toString();
    }

    /** A name that is neither hidden nor one of the project's own folders. */
    private static String folderName(String name) {
        String plain = name.replaceAll("[^\\p{L}\\p{N}._-]+", "-").replaceFirst("^[.-]+", "");
        if (plain.isEmpty()) {
            return "corpus";
        }
        return Corpora.PROJECT_FOLDERS.contains(plain) ? plain + "-corpus" : plain;
    }

    private static void print(Input input, Corpus corpus, long characters, Optional<CorpusInfo> before) {
        String text = input.text;
        int end = text.offsetByCodePoints(0, (int) Math.min(characters, SHOWN_CHARACTERS));
        line("Source", input.source + (input.column == null ? "" : ", column " + input.column));
        line("Characters", String.format(Locale.ROOT, "%,d", characters));
        line("Vocabulary", corpus.tokenizer().size() + " characters: " + corpus.tokenizer());
        line(
                "Split",
                String.format(
                        Locale.ROOT, "%,d tokens train, %,d tokens val", corpus.train().length, corpus.val().length));
        line("Written to", corpus.name());
        before.filter(info -> !info.source().equals(input.source))
                .ifPresent(info -> line("", "(in place of the corpus from " + info.source() + ")"));
        System.out.println();
        System.out.println("It begins:");
        text.substring(0, end)
                .lines()
                .forEach(l -> System.out.println(("  " + CharTokenizer.printable(l)).stripTrailing()));
    }

    /** What training does with a corpus from now on. */
    private static void printUse(Path folder) {
        boolean inUse = Corpora.FOLDER
                .toAbsolutePath()
                .equals(folder.toAbsolutePath().normalize().getParent());
        System.out.println(
                inUse
                        ? "Training uses " + folder + " from now on; `" + Main.program()
                                + " setup --use NAME` takes another."
                        : "To train on it: " + Main.program() + " train --data " + Shell.quoted(folder.toString()));
    }

    private static void line(String name, String value) {
        System.out.printf("%-12s%s%n", name, value);
    }
}
