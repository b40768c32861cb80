package io.github.drakegpt.cli;

import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.CorpusFolder;
import io.github.drakegpt.data.DownloadCache;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code clean}: removes the files that {@code setup} made. */
@Command(
        name = "clean",
        mixinStandardHelpOptions = true,
        description = "Removes the corpora that setup made under data/ and its downloads; lists them and asks first.")
final class CleanCommand implements Callable<Integer> {
    @Option(names = "--yes", description = "Do not ask.")
    private boolean yes;

    @Override
    public Integer call() throws IOException {
        List<CorpusFolder> corpora = Corpora.made(Corpora.FOLDER);
        DownloadCache cache = new DownloadCache(Corpora.FOLDER.resolve(DownloadCache.NAME));
        List<Path> downloads = cache.files();
        if (corpora.isEmpty() && downloads.isEmpty()) {
            System.out.println("Nothing to remove: setup made nothing under " + Corpora.FOLDER + ".");
            return 0;
        }
        for (CorpusFolder corpus : corpora) {
            System.out.println(
                    corpus.path() + "  (from " + corpus.info().orElseThrow().source() + ")");
        }
        for (Path download : downloads) {
            System.out.println(download + "  (download)");
        }
        if (!yes && !confirmed()) {
            System.out.println("Nothing was removed.");
            return 0;
        }
        for (CorpusFolder corpus : corpora) {
            report(corpus.path(), corpus.remove());
        }
        if (!downloads.isEmpty()) {
            report(cache.path(), cache.remove());
        }
        return 0;
    }

    private static boolean confirmed() {
        if (!Terminal.isPresent()) {
            throw new IllegalArgumentException("Nothing was removed, as there is no terminal to ask on; add --yes.");
        }
        String answer = System.console().readLine("Remove them? [y/N] ");
        return answer != null && List.of("y", "yes").contains(answer.strip().toLowerCase(Locale.ROOT));
    }

    private static void report(Path folder, boolean gone) {
        System.out.println(
                gone ? "Removed " + folder : "Removed setup's files from " + folder + "; other files in it stay.");
    }
}
