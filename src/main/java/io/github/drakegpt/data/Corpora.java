package io.github.drakegpt.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The corpora under a folder, and which of them a command uses. */
public final class Corpora {
    /** Where setup puts corpora unless told otherwise, in the working directory. */
    public static final Path FOLDER = Path.of("data");

    /** Folders under {@code data} that belong to the project itself: never written to, never removed. */
    public static final Set<String> PROJECT_FOLDERS = Set.of("sample", "pretrained");

    private Corpora() {}

    /**
     * A corpus and how it came to be chosen.
     *
     * @param description for the log, such as {@code data/drake (the last that setup made)}
     */
    public record Found(Corpus corpus, String description) {}

    /**
     * The corpus to use: the given folder; or else the one under {@code data} that setup made last or was told to use; or
     * else the bundled sample, prepared in memory.
     *
     * @param given the folder of {@code --data}, null for none
     * @throws IOException if the folder is missing, not prepared or damaged; the message says what to do
     */
    public static Found find(Path given) throws IOException {
        return find(given, FOLDER);
    }

    static Found find(Path given, Path folder) throws IOException {
        if (given != null) {
            return new Found(read(given), given.toString());
        }
        Optional<Path> last = last(folder);
        return last.isPresent()
                ? new Found(read(last.get()), last.get() + " (the last that setup made or was told to use)")
                : sample();
    }

    /** The corpus that is used where none is given; empty if setup has made none and the bundled one is not here. */
    public static Optional<Found> inUse() throws IOException {
        return last(FOLDER).isPresent() || ProjectHome.find(ProjectHome.SAMPLE).isPresent()
                ? Optional.of(find(null))
                : Optional.empty();
    }

    /**
     * Makes a corpus under {@code data} the one in use.
     *
     * @param name of its folder
     * @throws IllegalArgumentException that lists the names, if setup has made none of this name
     */
    public static CorpusFolder use(String name) throws IOException {
        List<CorpusFolder> made = made(FOLDER);
        CorpusFolder chosen = made.stream()
                .filter(corpus -> corpus.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("There is no corpus '" + name + "' under " + FOLDER
                        + (made.isEmpty()
                                ? ""
                                : ", only "
                                        + made.stream().map(CorpusFolder::name).collect(Collectors.joining(", ")))
                        + "; make one with setup --source."));
        chosen.touch();
        return chosen;
    }

    /** Its name is the whole path, so that a run that keeps it can be resumed from any folder. */
    private static Corpus read(Path folder) throws IOException {
        return Corpus.read(folder.toAbsolutePath().normalize());
    }

    /** The bundled sample, prepared in memory. */
    public static Found sample() throws IOException {
        Path sample = ProjectHome.require(ProjectHome.SAMPLE);
        Corpus corpus = Corpus.prepare(sample.toString(), TextSource.read(sample, TextSource.LYRIC_COLUMN));
        return new Found(corpus, "the bundled sample " + sample);
    }

    /** The folders directly under {@code folder} that setup made, by name; links and the project's own are left out. */
    public static List<CorpusFolder> made(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        List<Path> candidates;
        try (Stream<Path> entries = Files.list(folder)) {
            candidates = entries.filter(entry -> Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS))
                    .filter(entry ->
                            !PROJECT_FOLDERS.contains(entry.getFileName().toString()))
                    .sorted()
                    .toList();
        }
        List<CorpusFolder> made = new ArrayList<>();
        for (Path candidate : candidates) {
            if (CorpusInfo.read(candidate).isPresent()) {
                made.add(new CorpusFolder(candidate));
            }
        }
        return made;
    }

    private static Optional<Path> last(Path folder) throws IOException {
        Path last = null;
        FileTime lastTime = null;
        for (CorpusFolder made : made(folder)) {
            FileTime time = Files.getLastModifiedTime(made.path().resolve(CorpusInfo.FILE));
            if (lastTime == null || time.compareTo(lastTime) > 0) {
                last = made.path();
                lastTime = time;
            }
        }
        return Optional.ofNullable(last);
    }
}
