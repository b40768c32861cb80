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
            "  setup --source sample",
            "  setup --source kaggle --artist Rihanna",
            "  setup --source my-lyrics.csv --column text --out data/mine"
        })
final class SetupCommand implements Callable<Integer> {
    private static final Pattern ADDRESS = Pattern.compile("[A-Za-z][A-Za-z0-9+.-]*://.*");
    private static final int SHOWN_CHARACTERS = 200;

    @Option(
            names = "--source",
            required = true,
            paramLabel = "SOURCE",
            description = "'sample' (the bundled lyrics), 'kaggle' (needs a Kaggle token), a FILE (.txt or .csv,"
                    + " either also .gz; UTF-8), or an http(s) address of such a file.")
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
        folder.write(
                corpus,
                new CorpusInfo(
                        input.source,
                        input.column,
                        characters,
                        corpus.tokenizer().size(),
                        Instant.now().truncatedTo(ChronoUnit.SECONDS).toString()));
        print(input, corpus, characters, before);
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
        Path file = source.equals("sample") ? ProjectHome.require(ProjectHome.SAMPLE) : Path.of(source);
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
        if (source.equals("sample")) {
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

    private static void line(String name, String value) {
        System.out.printf("%-12s%s%n", name, value);
    }
}
