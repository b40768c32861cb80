package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.NativeFolder;
import java.io.IOException;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** NVIDIA's libraries from the jar {@code org.bytedeco:cuda:linux-x86_64-redist}, if that is on the class path. */
final class Redistributable {
    private static final Logger log = LoggerFactory.getLogger(Redistributable.class);
    private static final String FOLDER = "org/bytedeco/cuda/linux-x86_64/";
    private static final Pattern NEEDED = Pattern.compile(FOLDER + "lib(cublas|cublasLt|cudnn(_\\w+)?)\\.so\\.\\d+");

    private Redistributable() {}

    /**
     * Unpacks cuBLAS and cuDNN, which takes a while the first time.
     *
     * @return the folder they are in; empty if there is no such jar
     * @throws IOException if they cannot be unpacked
     */
    static Optional<Path> unpack(NativeFolder natives, List<Integer> cudaVersions) throws IOException {
        for (int version : cudaVersions) {
            URL url = Redistributable.class.getClassLoader().getResource(FOLDER + "libcublas.so." + version);
            if (url != null && url.openConnection() instanceof JarURLConnection connection) {
                connection.setUseCaches(false);
                try (JarFile jar = connection.getJarFile()) {
                    return Optional.of(unpack(natives, jar));
                }
            }
        }
        return Optional.empty();
    }

    private static Path unpack(NativeFolder natives, JarFile jar) throws IOException {
        List<JarEntry> entries = jar.stream()
                .filter(entry -> NEEDED.matcher(entry.getName()).matches())
                .toList();
        // The checksums distinguish this jar's libraries from those of another version.
        long checksum = entries.stream().mapToLong(JarEntry::getCrc).reduce(0, (sum, crc) -> 31 * sum + crc);
        log.debug("Unpacking {} libraries of {}", entries.size(), jar.getName());
        Path folder = null;
        for (JarEntry entry : entries) {
            String name = entry.getName().substring(FOLDER.length());
            folder = natives.put(
                            "cuda-" + Long.toHexString(checksum), name, () -> jar.getInputStream(entry), entry.getCrc())
                    .getParent();
        }
        return folder;
    }
}
