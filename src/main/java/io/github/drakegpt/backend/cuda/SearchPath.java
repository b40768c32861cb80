package io.github.drakegpt.backend.cuda;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The folders in which to look for NVIDIA's libraries, in order: those that the user names, the environment's, the
 * toolkit's, the loader's, and those of Python's packages.
 */
final class SearchPath {
    /** Names the folders to look in first, separated by colons. */
    static final String VARIABLE = "DRAKEGPT_CUDA_PATH";

    /** The same as a system property, which comes before the variable. */
    static final String PROPERTY = "drakegpt.cuda.path";

    private static final Pattern NUMBER = Pattern.compile("\\d+");

    private final Map<String, String> environment;
    private final Path root;
    private final Path home;

    /**
     * @param environment the process's
     * @param root the folder to use as {@code /}
     * @param home the user's
     */
    SearchPath(Map<String, String> environment, Path root, Path home) {
        this.environment = environment;
        this.root = root;
        this.home = home;
    }

    /** The search path of this machine. */
    static SearchPath ofThisMachine() {
        return new SearchPath(System.getenv(), Path.of("/"), Path.of(System.getProperty("user.home")));
    }

    /** The folders in which the loader looks for a library by name, such as the driver. */
    Set<Path> loaderFolders() {
        Set<Path> folders = new LinkedHashSet<>(listed(environment.get("LD_LIBRARY_PATH")));
        folders.addAll(LoaderCache.folders(root));
        return folders;
    }

    /** All folders, whether they exist or not. */
    Set<Path> folders() {
        String explicit = System.getProperty(PROPERTY, environment.get(VARIABLE));
        Set<Path> folders = new LinkedHashSet<>(listed(explicit));
        folders.addAll(listed(environment.get("LD_LIBRARY_PATH")));
        Stream.of(
                        listed(environment.get("CUDA_HOME")),
                        listed(environment.get("CUDA_PATH")),
                        List.of(root.resolve("usr/local/cuda")),
                        newestFirst(root.resolve("usr/local"), "cuda-*"),
                        List.of(root.resolve("opt/cuda")))
                .flatMap(List::stream)
                .forEach(toolkit -> addToolkit(toolkit, folders));
        folders.addAll(LoaderCache.folders(root));
        pythons().forEach(python -> addWheels(python, folders));
        listed(environment.get("CONDA_PREFIX")).forEach(conda -> addToolkit(conda, folders));
        return folders;
    }

    /** The first file of that name. */
    static Optional<Path> find(String name, Set<Path> folders) {
        return folders.stream()
                .map(folder -> folder.resolve(name))
                .filter(Files::isRegularFile)
                .findFirst();
    }

    private static void addToolkit(Path toolkit, Set<Path> folders) {
        for (String libraries : List.of("lib64", "lib", "targets/x86_64-linux/lib")) {
            folders.add(toolkit.resolve(libraries));
        }
    }

    /** Prefixes of Python installations, the active environment first. */
    private Set<Path> pythons() {
        Set<Path> prefixes = new LinkedHashSet<>(listed(environment.get("VIRTUAL_ENV")));
        prefixes.addAll(listed(environment.get("CONDA_PREFIX")));
        find("python3", new LinkedHashSet<>(listed(environment.get("PATH")))).ifPresent(python -> {
            addPrefix(python, prefixes);
            try {
                addPrefix(python.toRealPath(), prefixes);
            } catch (IOException e) {
                // It was deleted meanwhile.
            }
        });
        prefixes.add(home.resolve(".local"));
        prefixes.add(root.resolve("usr/local"));
        prefixes.add(root.resolve("usr"));
        for (Path installed : newestFirst(root.resolve("opt"), "*")) {
            prefixes.add(installed);
            prefixes.add(installed.resolve(".venv"));
        }
        return prefixes;
    }

    /** PREFIX/bin/python3 belongs to PREFIX. */
    private static void addPrefix(Path python, Set<Path> prefixes) {
        Path prefix = python.getParent().getParent();
        if (prefix != null) {
            prefixes.add(prefix);
        }
    }

    private static void addWheels(Path prefix, Set<Path> folders) {
        for (Path python : newestFirst(prefix.resolve("lib"), "python3*")) {
            for (String packages : List.of("site-packages", "dist-packages")) {
                newestFirst(python.resolve(packages).resolve("nvidia"), "*")
                        .forEach(wheel -> folders.add(wheel.resolve("lib")));
            }
        }
    }

    /** The folders that a variable lists, without relative paths. */
    private static List<Path> listed(String paths) {
        List<Path> folders = new ArrayList<>();
        for (String path : paths == null ? new String[0] : paths.split(":")) {
            try {
                if (path.startsWith("/")) {
                    folders.add(Path.of(path));
                }
            } catch (InvalidPathException e) {
                // not a valid path
            }
        }
        return folders;
    }

    /** Matching entries of a folder, cuda-12.10 before cuda-12.9; empty if the folder does not exist. */
    private static List<Path> newestFirst(Path folder, String glob) {
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, glob)) {
            entries.forEach(found::add);
        } catch (IOException | DirectoryIteratorException e) {
            return List.of(); // missing or unreadable
        }
        found.sort(Comparator.comparing(SearchPath::padded).reversed());
        return found;
    }

    private static String padded(Path path) {
        return NUMBER.matcher(path.getFileName().toString())
                .replaceAll((MatchResult number) ->
                        "0".repeat(Math.max(0, 9 - number.group().length())) + number.group());
    }
}
