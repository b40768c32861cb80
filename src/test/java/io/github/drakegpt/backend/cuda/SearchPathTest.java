package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SearchPathTest {
    private static final String NAME = "libcublas.so.12";

    @TempDir
    Path root;

    private final Map<String, String> environment = new HashMap<>();

    @Test
    void looksInTheLikeliestFolderFirst() throws IOException {
        List<Path> expected = new ArrayList<>();
        for (String folder : List.of(
                "explicit/a",
                "explicit/b",
                "ld/path",
                "cuda-home/lib64",
                "cuda-path/targets/x86_64-linux/lib",
                "usr/local/cuda/lib64",
                "usr/local/cuda-12.10/lib64",
                "usr/local/cuda-12.9/lib",
                "opt/cuda/lib64",
                "cached/by/ldconfig",
                "usr/lib/x86_64-linux-gnu",
                "usr/lib64",
                "venv/lib/python3.12/site-packages/nvidia/cublas/lib",
                "conda/lib/python3.11/site-packages/nvidia/cu13/lib",
                "pyenv/lib/python3.13/site-packages/nvidia/cu13/lib",
                "home/.local/lib/python3.12/site-packages/nvidia/cu13/lib",
                "home/.local/lib/python3.9/site-packages/nvidia/cublas/lib",
                "usr/local/lib/python3.11/dist-packages/nvidia/cublas/lib",
                "usr/lib/python3/dist-packages/nvidia/cublas/lib",
                "opt/tools/.venv/lib/python3.11/site-packages/nvidia/cublas/lib",
                "conda/lib")) {
            expected.add(file(folder + "/" + NAME));
        }
        writeCache(root.resolve("cached/by/ldconfig/libany.so.1"));
        Files.createDirectories(root.resolve("pyenv/bin"));
        Files.createFile(root.resolve("pyenv/bin/python3.13"));
        Files.createDirectories(root.resolve("bin"));
        Files.createSymbolicLink(root.resolve("bin/python3"), root.resolve("pyenv/bin/python3.13"));
        environment.put(SearchPath.VARIABLE, paths("explicit/a", "explicit/b"));
        environment.put("LD_LIBRARY_PATH", ":relative:" + paths("ld/path"));
        environment.put("CUDA_HOME", paths("cuda-home"));
        environment.put("CUDA_PATH", paths("cuda-path"));
        environment.put("VIRTUAL_ENV", paths("venv"));
        environment.put("CONDA_PREFIX", paths("conda"));
        environment.put("PATH", paths("nothing", "bin"));

        List<Path> found = new ArrayList<>();
        while (find().isPresent()) {
            found.add(find().get());
            Files.delete(find().get());
        }

        assertThat(found).containsExactlyElementsOf(expected);
    }

    @Test
    void thePropertyGoesBeforeTheVariable() throws IOException {
        file("a/" + NAME);
        Path expected = file("b/" + NAME);
        environment.put(SearchPath.VARIABLE, paths("a"));
        System.setProperty(SearchPath.PROPERTY, paths("b"));
        try {
            assertThat(find()).contains(expected);
        } finally {
            System.clearProperty(SearchPath.PROPERTY);
        }
    }

    @Test
    void aFolderOfThatNameIsNotTheLibrary() throws IOException {
        Files.createDirectories(root.resolve("usr/lib64").resolve(NAME));

        assertThat(find()).isEmpty();
    }

    @Test
    void theLoaderFindsTheDriverAlsoWithoutACache() throws IOException {
        Path expected = file("usr/lib64/libcuda.so.1");
        file("usr/local/cuda/lib64/libcuda.so.1"); // not the loader's

        assertThat(SearchPath.find("libcuda.so.1", path().loaderFolders())).contains(expected);
    }

    @Test
    void aDamagedCacheIsNoCache() throws IOException {
        Path expected = file("usr/lib64/libcuda.so.1");
        writeCache(root.resolve("folder/libany.so.1"));
        Path cache = root.resolve("etc/ld.so.cache");
        byte[] whole = Files.readAllBytes(cache);
        for (int length = 0; length < whole.length; length++) {
            Files.write(cache, Arrays.copyOf(whole, length));
            assertThat(SearchPath.find("libcuda.so.1", path().loaderFolders())).contains(expected);
        }
    }

    private SearchPath path() {
        return new SearchPath(environment, root, root.resolve("home"));
    }

    private Optional<Path> find() {
        return SearchPath.find(NAME, path().folders());
    }

    private Path file(String name) throws IOException {
        Path file = root.resolve(name);
        Files.createDirectories(file.getParent());
        return Files.createFile(file);
    }

    private String paths(String... folders) {
        return String.join(
                ":",
                List.of(folders).stream().map(f -> root.resolve(f).toString()).toList());
    }

    /** As ldconfig writes it, after a table in the older format: a library of another architecture, then this one. */
    private void writeCache(Path library) throws IOException {
        byte[] older = new byte[16];
        byte[] other = "/lib32/libany.so.1\0".getBytes(StandardCharsets.UTF_8);
        byte[] strings = (library + "\0").getBytes(StandardCharsets.UTF_8);
        ByteBuffer table = ByteBuffer.allocate(48 + 2 * 24).order(ByteOrder.LITTLE_ENDIAN);
        table.put("glibc-ld.so.cache1.1".getBytes(StandardCharsets.US_ASCII)).putInt(2);
        int start = table.capacity();
        table.putInt(48, 3).putInt(48 + 8, start);
        table.putInt(72, 0x303).putInt(72 + 8, start + other.length);
        ByteArrayOutputStream cache = new ByteArrayOutputStream();
        cache.write(older);
        cache.write(table.array());
        cache.write(other);
        cache.write(strings);
        Files.createDirectories(root.resolve("etc"));
        Files.write(root.resolve("etc/ld.so.cache"), cache.toByteArray());
    }
}
