package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.JCudaNatives.error;
import static io.github.drakegpt.backend.cuda.JCudaNatives.reason;

import io.github.drakegpt.backend.NativeFolder;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import jcuda.driver.JCudaDriver;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import jcuda.jcudnn.JCudnn;

/**
 * The driver, cuBLAS and cuDNN, found on this machine and loaded into this process together with JCuda's own libraries.
 *
 * <p>JCuda's libraries depend on {@code libcuda.so.1}, {@code libcublas.so.12} and {@code libcudnn.so.9}. These are
 * loaded beforehand, each by its path; the dynamic loader then uses the loaded library of that name. Where only CUDA 13
 * is found, JCuda's library for cuBLAS is patched to depend on {@code libcublas.so.13}, whose functions that it calls
 * are the same.
 */
final class CudaLibraries {
    /** The driver. A process can have only one. */
    enum Driver {
        /** NVIDIA's, which runs kernels on a GPU. */
        NVIDIA,
        /** The project's own, which runs kernels on the CPU: for tests on machines without a GPU. */
        SIMT
    }

    private static final String LIBCUDA = "libcuda.so.1";
    private static final String LIBCUBLAS = "libcublas.so.";
    private static final String LIBCUBLASLT = "libcublasLt.so.";
    private static final String LIBCUDNN = "libcudnn.so.9";
    private static final int JCUDAS_CUBLAS = 12; // JCuda's library is linked against it
    private static final int CUDA_13 = 13_000;
    private static final int OLDEST_DRIVER = 12_000; // the first for PTX 8.0, the version of the kernels
    private static final Path DRIVER_RELEASE = Path.of("/proc/driver/nvidia/version");
    private static final Pattern RELEASE = Pattern.compile("\\b\\d{3,}\\.\\d+(\\.\\d+)*");

    private static CudaLibraries loaded;
    private static Driver bound; // whose library is loaded in this process, even if loading failed later
    private static CudaUnavailableException failure; // JCuda's classes cannot be initialised a second time

    private final Driver driver;
    private final int driverVersion;
    private final JCudaNatives natives;
    private final Map<String, String> facts = new LinkedHashMap<>();
    private String obstacle;
    private boolean cudnn;

    private CudaLibraries(Driver driver, Path libcuda) throws IOException {
        this.driver = driver;
        try {
            System.load(libcuda.toString());
            bound = driver;
            NativeFolder folder = NativeFolder.open();
            natives = new JCudaNatives(folder);
            driverVersion = loadDriver(libcuda);
            Set<Path> folders = folders(libcuda, folder);
            loadCublas(folders);
            if (driver == Driver.NVIDIA) {
                loadCudnn(folders);
            } else {
                facts.put("cuDNN", "none, nothing is measured against it: it runs on a GPU only");
            }
        } catch (UnsatisfiedLinkError e) {
            throw new CudaUnavailableException(
                    "The driver could not be loaded (" + reason(e) + "); install it again.", e);
        }
    }

    /**
     * Loads the libraries of this machine; later calls return the same object. {@link #obstacle} reports a missing
     * cuBLAS.
     *
     * @throws CudaUnavailableException if there is no such driver, it is too old or does not work, or this process has
     *     the other one
     */
    static synchronized CudaLibraries load(Driver driver) {
        Path libcuda = find(driver).orElseThrow(() -> new CudaUnavailableException(missing(driver)));
        if (bound != null && bound != driver) {
            throw new CudaUnavailableException(
                    "This process already has the driver " + bound + "; start another one to use " + driver + ".");
        }
        if (failure != null) {
            throw new CudaUnavailableException(failure.getMessage(), failure);
        }
        try {
            if (loaded == null) {
                loaded = new CudaLibraries(driver, libcuda);
            }
            return loaded;
        } catch (IOException e) {
            throw failed(new CudaUnavailableException(
                    "JCuda's libraries could not be unpacked (" + e.getMessage() + "); check that there is space on the"
                            + " disk and that XDG_CACHE_HOME, if set, is a folder you can write to.",
                    e));
        } catch (CudaUnavailableException e) {
            throw failed(e);
        }
    }

    private static CudaUnavailableException failed(CudaUnavailableException e) {
        failure = bound == null ? null : e;
        return e;
    }

    /** Finds the driver's library without loading anything. */
    static Optional<Path> find(Driver driver) {
        if (!canRun()) {
            return Optional.empty();
        }
        return SearchPath.find(
                LIBCUDA,
                driver == Driver.SIMT
                        ? Set.of(simtFolder())
                        : SearchPath.ofThisMachine().loaderFolders());
    }

    private static String missing(Driver driver) {
        if (!canRun()) {
            return "CUDA needs Linux on x86-64; use the device cpu.";
        }
        return driver == Driver.SIMT
                ? "The SIMT driver is not built; run scripts/build-simt."
                : "There is no NVIDIA driver (" + LIBCUDA
                        + "); if this machine has an NVIDIA GPU, install driver 525 or" + " later.";
    }

    private static boolean canRun() {
        return System.getProperty("os.name").equals("Linux")
                && System.getProperty("os.arch").equals("amd64");
    }

    /** {@code drakegpt.simt}, else {@code simt} beside the jar or the folder of classes, where the build puts it. */
    private static Path simtFolder() {
        String given = System.getProperty("drakegpt.simt");
        if (given != null) {
            return Path.of(given).toAbsolutePath();
        }
        try {
            return Path.of(CudaLibraries.class
                            .getProtectionDomain()
                            .getCodeSource()
                            .getLocation()
                            .toURI())
                    .resolveSibling("simt");
        } catch (URISyntaxException e) {
            throw new IllegalStateException("The class path has an entry that is no URI", e);
        }
    }

    /** CUDA's version that the driver supports, as 12040 for 12.4. */
    int driverVersion() {
        return driverVersion;
    }

    /** The reason why cuBLAS cannot be used, and how to fix that, in one sentence; empty if it can. */
    Optional<String> obstacle() {
        return Optional.ofNullable(obstacle);
    }

    /** Whether the loaded driver can run the cuDNN that was found. */
    static synchronized boolean cudnnUsable() {
        return loaded != null && loaded.cudnn;
    }

    /** The libraries that were found: names, and versions with paths. */
    Map<String, String> facts() {
        return new LinkedHashMap<>(facts);
    }

    private int loadDriver(Path libcuda) throws IOException {
        int[] version = new int[1];
        String[] error = new String[1];
        natives.load(
                "JCudaDriver",
                library -> library,
                () -> error[0] = error(() -> JCudaDriver.cuDriverGetVersion(version)));
        if (!error[0].isEmpty()) {
            throw new CudaUnavailableException("The driver " + libcuda + " does not work (" + error[0]
                    + "); check that nvidia-smi runs, else install the driver again.");
        }
        String cuda = dotted(version[0] / 1000, version[0] % 1000 / 10);
        if (version[0] < OLDEST_DRIVER) {
            throw new CudaUnavailableException("The NVIDIA driver is too old, for CUDA " + cuda
                    + " where 12.0 is needed; install driver 525 or later.");
        }
        facts.put("driver", release() + "CUDA " + cuda + ", " + libcuda);
        return version[0];
    }

    /** The driver's release number, such as 550.54.15, from NVIDIA's kernel module. */
    private String release() throws IOException {
        if (driver == Driver.SIMT || !Files.isReadable(DRIVER_RELEASE)) {
            return "";
        }
        Matcher matcher = RELEASE.matcher(Files.readString(DRIVER_RELEASE));
        return matcher.find() ? matcher.group() + ", " : "";
    }

    private Set<Path> folders(Path libcuda, NativeFolder unpacked) throws IOException {
        if (driver == Driver.SIMT) {
            return Set.of(libcuda.getParent());
        }
        Set<Path> folders = SearchPath.ofThisMachine().folders();
        if (cublasIn(folders).isEmpty() || SearchPath.find(LIBCUDNN, folders).isEmpty()) {
            Redistributable.unpack(unpacked, cublasVersions()).ifPresent(folders::add);
        }
        return folders;
    }

    /** Versions that run on this driver, the one of JCuda's library first. */
    private List<Integer> cublasVersions() {
        return driverVersion < CUDA_13 ? List.of(JCUDAS_CUBLAS) : List.of(JCUDAS_CUBLAS, 13);
    }

    private record Cublas(Path folder, int version) {
        Path path() {
            return folder.resolve(LIBCUBLAS + version);
        }
    }

    private List<Cublas> cublasIn(Set<Path> folders) {
        List<Cublas> found = new ArrayList<>();
        for (Path folder : folders) {
            for (int version : cublasVersions()) {
                Cublas cublas = new Cublas(folder, version);
                if (Files.isRegularFile(cublas.path())) {
                    found.add(cublas);
                }
            }
        }
        return found;
    }

    private void loadCublas(Set<Path> folders) throws IOException {
        String failed = null;
        for (Cublas cublas : cublasIn(folders)) {
            try {
                loadWithLt(cublas);
            } catch (UnsatisfiedLinkError e) {
                failed = reason(e); // try the next version
                continue;
            }
            loadJCublas(cublas);
            return;
        }
        facts.put("cuBLAS", "not found");
        obstacle = failed != null
                ? "cuBLAS could not be loaded (" + failed + "); " + mend()
                : SearchPath.find(LIBCUBLAS + 13, folders)
                        .map(tooNew -> "The driver is too old for the only cuBLAS found, that of CUDA 13 (" + tooNew
                                + "); install driver 580 or later, or an older cuBLAS: " + mend())
                        .orElseGet(() -> "cuBLAS was not found; " + mend());
    }

    private static void loadWithLt(Cublas cublas) {
        Path lt = cublas.folder().resolve(LIBCUBLASLT + cublas.version());
        if (Files.isRegularFile(lt)) {
            System.load(lt.toString());
        }
        System.load(cublas.path().toString());
    }

    private void loadJCublas(Cublas cublas) throws IOException {
        JCudaNatives.Change change = cublas.version() == JCUDAS_CUBLAS
                ? library -> library
                : library -> ElfSoname.replace(library, LIBCUBLAS + JCUDAS_CUBLAS, LIBCUBLAS + cublas.version());
        try {
            natives.load("JCublas2", change, JCublas2::initialize);
        } catch (UnsatisfiedLinkError e) {
            facts.put("cuBLAS", "not usable, " + cublas.path());
            obstacle = "cuBLAS could not be used (" + reason(e) + "); " + mend();
            return;
        }
        int[] version = new int[1];
        error(() -> JCublas2.cublasGetVersion(new cublasHandle(), version));
        facts.put(
                "cuBLAS", dotted(version[0] / 10_000, version[0] / 100 % 100, version[0] % 100) + ", " + cublas.path());
    }

    private String mend() {
        return driver == Driver.SIMT
                ? "run scripts/build-simt."
                : (driverVersion < CUDA_13 ? "pip install nvidia-cublas-cu12" : "pip install nvidia-cublas")
                        + ", apt install libcublas12 or mvn -Pcuda-redist package brings one, and "
                        + SearchPath.VARIABLE
                        + " can name its folder.";
    }

    /** cuDNN is only for comparison: a problem with it is a fact, not an obstacle. */
    private void loadCudnn(Set<Path> folders) throws IOException {
        Optional<Path> path = SearchPath.find(LIBCUDNN, folders);
        if (path.isEmpty()) {
            facts.put(
                    "cuDNN",
                    "not found, which is no harm (pip install nvidia-cudnn-cu" + driverVersion / 1000 + " brings it)");
            return;
        }
        try {
            System.load(path.get().toString());
            natives.load("JCudnn", library -> library, JCudnn::initialize);
        } catch (UnsatisfiedLinkError e) {
            facts.put("cuDNN", "not usable, " + path.get() + " (" + reason(e) + ")");
            return;
        }
        long version = JCudnn.cudnnGetVersion();
        long cuda = JCudnn.cudnnGetCudartVersion() / 1000;
        cudnn = cuda <= driverVersion / 1000;
        facts.put(
                "cuDNN",
                dotted(version / 10_000, version / 100 % 100, version % 100)
                        + (cudnn ? ", " : " for CUDA " + cuda + ", not usable with this driver, ")
                        + path.get());
    }

    private static String dotted(long... numbers) {
        return LongStream.of(numbers).mapToObj(Long::toString).collect(Collectors.joining("."));
    }
}
