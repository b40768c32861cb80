package io.github.drakegpt.data;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/** A folder that {@code setup} makes and {@code clean} removes: a corpus and a marker. */
public final class CorpusFolder {
    /** The marker goes last when the folder is removed, so that an interrupted clean can be run again. */
    private static final List<String> FILES =
            List.of(Corpus.INPUT, Corpus.TRAIN, Corpus.VAL, Corpus.VOCAB, CorpusInfo.FILE);

    private final Path path;

    /** A folder, whether it exists or not. */
    public CorpusFolder(Path path) {
        this.path = path;
    }

    /** Where it is, as the user gave it. */
    public Path path() {
        return path;
    }

    /** Its own name, without the folders above it. */
    public String name() {
        return path.getFileName().toString();
    }

    /** Makes it the one that setup wrote last. */
    void touch() throws IOException {
        Files.setLastModifiedTime(path.resolve(CorpusInfo.FILE), FileTime.from(Instant.now()));
    }

    /** The marker that setup wrote; empty if setup did not make this folder. */
    public Optional<CorpusInfo> info() throws IOException {
        return CorpusInfo.read(path);
    }

    /**
     * Checks that setup may write here: the folder does not exist, is empty, or was made by setup. Call it before a
     * long download.
     *
     * @throws IOException if something else is here
     */
    public void checkWritable() throws IOException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        if (!Files.isDirectory(path)) {
            throw new FileAlreadyExistsException(path.toString());
        }
        // in this order: a setup that is writing here gives the marker its name before all other files
        if (hasOthers() && info().isEmpty()) {
            throw new IOException(
                    path + " is there already and setup did not make it; choose another folder with --out.");
        }
        if (!Files.isWritable(path)) {
            throw new AccessDeniedException(path.toString());
        }
    }

    /**
     * Writes a corpus and its marker, and replaces those that setup wrote here before.
     *
     * @throws IOException if the folder is not setup's, or a file cannot be written; if the disk is full, an earlier
     *     corpus is unchanged
     */
    public void write(Corpus corpus, CorpusInfo info) throws IOException {
        checkWritable(); // before a folder is made
        boolean fresh = !Files.exists(path);
        try (Folder folder = Folder.make(path)) {
            checkWritable();
            Map<String, AtomicFiles.Content> contents = corpus.files();
            Map<String, String> sums = new TreeMap<>();
            for (Map.Entry<String, AtomicFiles.Content> file : contents.entrySet()) {
                sums.put(file.getKey(), Sha256.of(file.getValue()));
            }
            byte[] marker = info.with(sums).json();
            Map<String, AtomicFiles.Content> files = new LinkedHashMap<>();
            // First: it marks the folder as setup's even if a power cut leaves the rest half done.
            files.put(CorpusInfo.FILE, out -> out.write(marker));
            files.putAll(contents);
            try {
                AtomicFiles.writeAll(folder, files);
            } finally {
                if (fresh) {
                    folder.removeIfEmpty();
                }
            }
        }
    }

    /**
     * Removes the files that setup wrote, and the folder if nothing else is in it.
     *
     * @return whether the folder is gone
     * @throws IOException if the marker is missing or a file cannot be removed
     */
    public boolean remove() throws IOException {
        try (Folder folder = Folder.lock(path)) {
            if (info().isEmpty()) {
                throw new IOException(path + " was not made by setup; remove it yourself if you do not need it.");
            }
            for (String file : folder.names()) {
                if (isLeftover(file)) {
                    folder.delete(file);
                }
            }
            for (String file : FILES) {
                folder.delete(file);
            }
            return folder.removeIfEmpty();
        }
    }

    /** Whether there are files here, except the leftovers of a setup that was killed. */
    private boolean hasOthers() throws IOException {
        try (Folder folder = Folder.open(path)) {
            return !folder.names().stream().allMatch(this::isLeftover);
        }
    }

    private boolean isLeftover(String file) {
        return AtomicFiles.isLeftover(file, Set.copyOf(FILES));
    }
}
