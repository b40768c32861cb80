package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.github.drakegpt.backend.cuda.CudaLibraries.Driver;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** JCuda's real libraries over a driver and a cuBLAS that g++ makes here, in a JVM of their own. */
@Tag("simt")
class CudaLibrariesTest {
    private static final Path SOURCES = Path.of("src/test/native");

    @TempDir
    static Path stubs;

    @TempDir
    Path temp;

    private final Map<String, String> environment = new HashMap<>();
    private final List<String> java = new ArrayList<>();
    private final List<Path> classPath = new ArrayList<>();

    @BeforeAll
    static void compileStubs() throws Exception {
        boolean gxx = Stream.of(System.getenv("PATH").split(File.pathSeparator))
                .anyMatch(folder -> Files.isExecutable(Path.of(folder, "g++")));
        assumeThat(gxx).as("g++ is there (apt install g++)").isTrue();
        compile("driver/libcuda.so.1", "cuda.cpp", 0);
        compile("12/libcublas.so.12", "cublas.cpp", 120304);
        compile("13/libcublas.so.13", "cublas.cpp", 130002);
        compile("cudnn/libcudnn.so.9", "cudnn.cpp", 90501);
    }

    private static void compile(String library, String source, int version) throws Exception {
        Path file = stubs.resolve(library);
        Files.createDirectories(file.getParent());
        String soname = file.getFileName().toString();
        Path symbols = Files.writeString(stubs.resolve(soname + ".map"), soname + " { global: *; };"); // as NVIDIA's
        Process process = new ProcessBuilder(
                        "g++",
                        "-shared",
                        "-fPIC",
                        "-DSTUB_VERSION=" + version,
                        "-Wl,-soname," + soname + ",--version-script," + symbols,
                        "-o",
                        file.toString(),
                        SOURCES.resolve(source).toString())
                .inheritIO()
                .start();
        assertThat(process.waitFor()).isZero();
    }

    @BeforeEach
    void startsWithADriverOnly() {
        environment.put("LD_LIBRARY_PATH", stubs.resolve("driver").toString());
        environment.put("XDG_CACHE_HOME", temp.resolve("cache").toString());
    }

    @Test
    void usesTheCublasThatJCudaIsMadeFor() throws Exception {
        cublas("12");

        assertThat(child("cuda"))
                .contains(
                        "cuda: usable",
                        "driver: " + release() + "CUDA 12.4, " + stubs.resolve("driver/libcuda.so.1"),
                        "cuBLAS: 12.3.4, " + stubs.resolve("12/libcublas.so.12"),
                        "GPU 0: Stub, compute capability 9.0, 132 multiprocessors",
                        "GPU 0 memory: 3,072 MB, free 1,024 MB");
    }

    @Test
    void bindsToTheCublasOfCuda13() throws Exception {
        cublas("13");
        environment.put("STUB_VERSION", "13000");

        assertThat(child("cuda")).contains("cuda: usable", "cuBLAS: 13.0.2, " + stubs.resolve("13/libcublas.so.13"));
    }

    /** JCuda's real library calls a cuDNN that works on the SIMT driver's memory, and ours are the same results. */
    @Test
    void measuresAgainstCudnn() throws Exception {
        Path cudnn = simtWithCudnn();

        assertThat(child("cuda", "library")).contains("cuda: usable", "cuDNN: 9.5.1, " + cudnn);
    }

    @Test
    void timesOperationsBesideCudnn() throws Exception {
        simtWithCudnn();

        assertThat(child("bench-fp32"))
                .contains(
                        "softmax by cuDNN",
                        "softmaxGrad by cuDNN",
                        "relu by cuDNN",
                        "reluGrad by cuDNN",
                        "linear by cuBLAS");
    }

    @Test
    void whatCudnnCannotDoIsLeftOut() throws Exception {
        simtWithCudnn();

        assertThat(child("bench-bf16"))
                .contains("linear by cuBLAS")
                .doesNotContain("softmax by cuDNN", "relu by cuDNN");
        assertThat(Files.readString(temp.resolve("err")))
                .contains(
                        "softmax is not set beside cuDNN: cuDNN cannot do it with these operands (CUDNN_STATUS_NOT_SUPPORTED");
        environment.put("STUB_NO_CUDNN", "1");
        assertThat(child("bench-fp32"))
                .contains("linear by cuBLAS")
                .doesNotContain("softmax by cuDNN", "relu by cuDNN");
        assertThat(Files.readString(temp.resolve("err")))
                .contains("Nothing is measured against cuDNN: CUDNN_STATUS_NOT_INITIALIZED while starting cuDNN");
    }

    /** The SIMT driver in place of NVIDIA's, and a cuDNN beside it, whose path this is. */
    private Path simtWithCudnn() {
        Simt.build();
        Path simt = Path.of("target/simt").toAbsolutePath();
        Path cudnn = stubs.resolve("cudnn/libcudnn.so.9");
        environment.put("LD_LIBRARY_PATH", simt.toString());
        environment.put(SearchPath.VARIABLE, simt + ":" + cudnn.getParent());
        return cudnn;
    }

    @Test
    void anOlderDriverIsNotGivenANewerCublas() throws Exception {
        cublas("13");
        assumeNoCublas();

        assertThat(child("cuda").get(0))
                .isEqualTo("cuda: The driver is too old for the only cuBLAS found, that of CUDA 13 ("
                        + stubs.resolve("13/libcublas.so.13")
                        + "); install driver 580 or later, or an older cuBLAS: pip install nvidia-cublas-cu12, apt"
                        + " install libcublas12 or mvn -Pcuda-redist package brings one, and DRAKEGPT_CUDA_PATH can name"
                        + " its folder.");
        cublas("13", "12");
        assertThat(child("cuda")).contains("cuda: usable");
    }

    @Test
    void saysWhatBringsAMissingCublas() throws Exception {
        assumeNoCublas();

        assertThat(child("cuda"))
                .contains(
                        "cuda: cuBLAS was not found; pip install nvidia-cublas-cu12, apt install libcublas12 or mvn"
                                + " -Pcuda-redist package brings one, and DRAKEGPT_CUDA_PATH can name its folder.",
                        "cuBLAS: not found",
                        "GPU 0: Stub, compute capability 9.0, 132 multiprocessors");
    }

    @Test
    void passesOverALibraryThatCannotBeLoaded() throws Exception {
        Files.writeString(temp.resolve("libcublas.so.12"), "not a library");
        environment.put(SearchPath.VARIABLE, temp + ":" + stubs.resolve("12"));

        assertThat(child("cuda")).contains("cuda: usable", "cuBLAS: 12.3.4, " + stubs.resolve("12/libcublas.so.12"));
    }

    @Test
    void findsTheRedistributableOnTheClassPath() throws Exception {
        assumeNoCublas();
        Path jar = temp.resolve("cuda-redist.jar");
        try (OutputStream out = Files.newOutputStream(jar);
                ZipOutputStream zip = new ZipOutputStream(out)) {
            zip.putNextEntry(new ZipEntry("org/bytedeco/cuda/linux-x86_64/libcublas.so.12"));
            Files.copy(stubs.resolve("12/libcublas.so.12"), zip);
            zip.putNextEntry(new ZipEntry("org/bytedeco/cuda/linux-x86_64/libnccl.so.2"));
        }
        classPath.add(jar);

        List<String> first = child("cuda");

        assertThat(first).contains("cuda: usable").anyMatch(line -> line.startsWith("cuBLAS: 12.3.4, " + temp));
        assertThat(child("cuda")).isEqualTo(first);
        try (Stream<Path> files = Files.walk(temp.resolve("cache"))) {
            assertThat(files.map(file -> file.getFileName().toString()))
                    .contains("libcublas.so.12")
                    .doesNotContain("libnccl.so.2");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "STUB_VERSION | 11040 | The NVIDIA driver is too old, for CUDA 11.4 where 12.0 is needed; install driver"
                        + " 525 or later.",
                "STUB_RESULT | 34 | does not work (CUDA_ERROR_STUB_LIBRARY); check that nvidia-smi runs",
                "STUB_INIT | 999 | The NVIDIA driver does not start (CUDA_ERROR_UNKNOWN); check that nvidia-smi runs",
                "STUB_INIT | 100 | The NVIDIA driver finds no GPU; check that nvidia-smi lists one",
                "STUB_DEVICES | 0 | The NVIDIA driver finds no GPU; check that nvidia-smi lists one",
                "STUB_MAJOR | 7 | The GPU Stub has compute capability 7.0 where 8.0 is needed; use another one",
            })
    void anObstacleIsOneSentence(String setting, String value, String sentence) throws Exception {
        cublas("12");
        environment.put(setting, value);

        assertThat(child("cuda").get(0)).startsWith("cuda: ").contains(sentence).endsWith(".");
        assertThat(child("exceptions", "cuda").get(0)).contains(sentence);
    }

    @Test
    void saysThatAVariableHidesTheGpus() throws Exception {
        environment.put("STUB_INIT", "100");
        environment.put("CUDA_VISIBLE_DEVICES", "");

        assertThat(child("cuda").get(0))
                .isEqualTo("cuda: There is no GPU among those that CUDA_VISIBLE_DEVICES='' makes visible; unset it, or"
                        + " name one that nvidia-smi lists, such as 0.");
    }

    @Test
    void aDriverThatCannotBeLoadedIsOneSentence() throws Exception {
        Files.writeString(temp.resolve("libcuda.so.1"), "not a library");
        environment.put("LD_LIBRARY_PATH", temp.toString());

        assertThat(child("cuda"))
                .singleElement()
                .asString()
                .startsWith("cuda: The driver could not be loaded (" + temp.resolve("libcuda.so.1") + ": ")
                .endsWith("); install it again.");
    }

    @Test
    void doesNotTrustTheFolderForTemporaryFiles() throws Exception {
        cublas("12");
        Path temporary = Files.createDirectory(temp.resolve("tmp"));
        for (String name : List.of("JCudaDriver", "JCublas2")) {
            Files.writeString(temporary.resolve("lib" + name + "-12.6.0-linux-x86_64.so"), "planted");
        }
        java.add("-Djava.io.tmpdir=" + temporary);

        assertThat(child("cuda")).contains("cuda: usable").doesNotContain("java.io.tmpdir was not restored");
    }

    @Test
    void aProcessHasOneDriver() throws Exception {
        cublas("12");
        Path simt = Files.createDirectory(temp.resolve("simt"));
        Files.copy(stubs.resolve("driver/libcuda.so.1"), simt.resolve("libcuda.so.1"));
        Files.copy(stubs.resolve("12/libcublas.so.12"), simt.resolve("libcublas.so.12"));
        java.add("-Ddrakegpt.simt=" + simt);

        assertThat(child("cuda", "simt"))
                .contains(
                        "cuda: usable",
                        "simt: This process already has the driver NVIDIA; start another one to use SIMT.");
        assertThat(child("simt", "cuda"))
                .contains(
                        "simt: usable",
                        "driver: CUDA 12.4, " + simt.resolve("libcuda.so.1"),
                        "cuBLAS: 12.3.4, " + simt.resolve("libcublas.so.12"),
                        "cuda: This process already has the driver SIMT; start another one to use NVIDIA.");
    }

    @Test
    void aMissingDriverDoesNotBindTheProcess() throws Exception {
        environment.remove("LD_LIBRARY_PATH");
        assumeThat(CudaLibraries.find(Driver.NVIDIA)).isEmpty();
        Path simt = Files.createDirectory(temp.resolve("simt"));
        Files.copy(stubs.resolve("driver/libcuda.so.1"), simt.resolve("libcuda.so.1"));
        java.add("-Ddrakegpt.simt=" + simt);

        assertThat(child("cuda", "simt", "simt"))
                .containsSubsequence(
                        "cuda: There is no NVIDIA driver (libcuda.so.1); if this machine has an NVIDIA GPU, install"
                                + " driver 525 or later.",
                        "simt: cuBLAS was not found; run scripts/build-simt.",
                        "simt: cuBLAS was not found; run scripts/build-simt.");
    }

    private void cublas(String... folders) {
        environment.put(
                SearchPath.VARIABLE,
                String.join(
                        ":",
                        Stream.of(folders).map(f -> stubs.resolve(f).toString()).toList()));
    }

    /** For what is said where there is none: a machine that has one cannot test it. */
    private static void assumeNoCublas() {
        Set<Path> folders = SearchPath.ofThisMachine().folders();
        assumeThat(SearchPath.find("libcublas.so.12", folders)).isEmpty();
        assumeThat(SearchPath.find("libcublas.so.13", folders)).isEmpty();
    }

    /** Also a stub's facts name the release where NVIDIA's kernel module is there. */
    private static String release() throws IOException {
        Path module = Path.of("/proc/driver/nvidia/version");
        assumeThat(module).doesNotExist();
        return "";
    }

    /** The lines that {@link Child} prints. */
    private List<String> child(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(
                List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(java);
        command.add("-Ddrakegpt.log=" + System.getProperty("drakegpt.log"));
        command.add("-cp");
        command.add(Stream.concat(
                        Stream.of(System.getProperty("java.class.path")),
                        classPath.stream().map(Path::toString))
                .reduce((a, b) -> a + File.pathSeparator + b)
                .orElseThrow());
        command.add(Child.class.getName());
        command.addAll(List.of(arguments));
        Path out = temp.resolve("out");
        ProcessBuilder builder = new ProcessBuilder(command)
                .redirectOutput(out.toFile())
                .redirectError(temp.resolve("err").toFile());
        builder.environment().keySet().removeAll(Set.of("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"));
        builder.environment().putAll(environment);
        int code = builder.start().waitFor();
        assertThat(code).as(Files.readString(temp.resolve("err"))).isZero();
        return Files.readAllLines(out);
    }
}
