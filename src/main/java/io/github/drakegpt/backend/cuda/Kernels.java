package io.github.drakegpt.backend.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUfunction;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUjit_option;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import jcuda.driver.JITOptions;

/**
 * The kernels of {@code kernels/}, loaded from the PTX of a file at the first launch of one of its kernels. The driver
 * compiles PTX for the GPU, and caches the result for the next process.
 */
final class Kernels implements AutoCloseable {
    private static final Pattern ENTRY = Pattern.compile("\\.entry\\s+(\\w+)\\s*\\(([^)]*)\\)");
    private static final Pattern PARAMETER = Pattern.compile("\\.param\\s+\\.(\\w+)");
    private static final Pattern ERROR = Pattern.compile("\\b(error|fatal)\\b");
    private static final int LOG_BYTES = 8192;

    /** Is told of the launches that the current thread makes; null if nobody wants to know. */
    private static final ThreadLocal<LaunchObserver> OBSERVER = new ThreadLocal<>();

    private final CudaContext context;
    private final Function<String, String> ptx;
    private final Map<String, CUmodule> modules = new HashMap<>();
    private final Map<String, Kernel> kernels = new HashMap<>();

    private static final class Kernel {
        private final CUfunction function;
        private final List<String> parameters; // their PTX types, such as u64 for a pointer
        private int sharedBytes; // maximum requested so far
        private boolean launched;

        Kernel(CUfunction function, List<String> parameters) {
            this.function = function;
            this.parameters = parameters;
        }
    }

    /**
     * Numbers of blocks and of threads in each; CUDA's other dimensions are 1.
     *
     * @param sharedBytes dynamic shared memory of each block
     */
    record Grid(int blocksX, int blocksY, int threadsX, int threadsY, int sharedBytes) {
        Grid(int blocksX, int blocksY, int threadsX, int threadsY) {
            this(blocksX, blocksY, threadsX, threadsY, 0);
        }

        /** Blocks of 256 threads, each of which takes {@code perThread} of n elements. */
        static Grid of(long n, int perThread) {
            return new Grid(blocks(n, 256 * perThread), 1, 256, 1);
        }

        /** The minimum number of blocks for n elements, {@code each} to a block. */
        static int blocks(long n, int each) {
            return Math.toIntExact((n + each - 1) / each);
        }
    }

    /** @param ptx gives the PTX of a file of kernels/, named without its extension */
    Kernels(CudaContext context, Function<String, String> ptx) {
        this.context = context;
        this.ptx = ptx;
    }

    /**
     * Launches a kernel.
     *
     * @param file of kernels/, without its extension
     * @param arguments in the order of the kernel's parameters: Pointer, Integer, Long or Float, or arrays of these
     * @throws IllegalArgumentException if they do not fit the parameters that the PTX declares
     */
    void launch(String file, String name, Grid grid, Object... arguments) {
        context.enter();
        Kernel kernel = kernels.get(name);
        if (kernel == null) {
            load(file);
            kernel = kernels.get(name);
            if (kernel == null) {
                throw new IllegalArgumentException(
                        "kernels/" + file + ".cu has no kernel " + name + "; run scripts/compile-kernels.");
            }
        }
        List<Pointer> values = new ArrayList<>();
        add(arguments, name, kernel.parameters, values);
        if (values.size() != kernel.parameters.size()) {
            throw new IllegalArgumentException("The kernel " + name + " takes " + kernel.parameters.size()
                    + " parameters, not " + values.size() + ".");
        }
        if (grid.sharedBytes > kernel.sharedBytes) {
            context.check(
                    JCudaDriver.cuFuncSetAttribute(
                            kernel.function,
                            CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                            grid.sharedBytes),
                    "giving " + name + " shared memory");
            kernel.sharedBytes = grid.sharedBytes;
        }
        LaunchObserver observer = OBSERVER.get();
        if (observer != null) {
            List<Number> numbers = new ArrayList<>();
            addNumbers(arguments, numbers);
            observer.launching(
                    file,
                    name,
                    grid.blocksX,
                    grid.blocksY,
                    grid.threadsX,
                    grid.threadsY,
                    grid.sharedBytes,
                    List.copyOf(kernel.parameters),
                    numbers);
        }
        kernel.launched = true;
        context.launching(name);
        context.check(
                JCudaDriver.cuLaunchKernel(
                        kernel.function,
                        grid.blocksX,
                        grid.blocksY,
                        1,
                        grid.threadsX,
                        grid.threadsY,
                        1,
                        grid.sharedBytes,
                        context.stream(),
                        Pointer.to(values.toArray(new Pointer[0])),
                        null),
                "launching " + name);
        context.launched(name);
    }

    /** Does something, and tells the observer of each launch that the calling thread makes meanwhile. */
    static void observe(LaunchObserver observer, Runnable work) {
        OBSERVER.set(observer);
        try {
            work.run();
        } finally {
            OBSERVER.remove();
        }
    }

    /** Arguments as numbers, a pointer as its address. */
    private static void addNumbers(Object[] arguments, List<Number> numbers) {
        for (Object argument : arguments) {
            if (argument instanceof Object[] several) {
                addNumbers(several, numbers);
            } else {
                numbers.add(
                        argument instanceof CUdeviceptr pointer
                                ? (Number) DeviceStorage.address(pointer)
                                : (Number) argument);
            }
        }
    }

    private static void add(Object[] arguments, String name, List<String> parameters, List<Pointer> values) {
        for (Object argument : arguments) {
            if (argument instanceof Object[] several) {
                add(several, name, parameters, values);
                continue;
            }
            String type;
            Pointer value;
            if (argument instanceof Integer i) {
                type = "u32";
                value = Pointer.to(new int[] {i});
            } else if (argument instanceof Float f) {
                type = "f32";
                value = Pointer.to(new float[] {f});
            } else if (argument instanceof Long l) {
                type = "u64";
                value = Pointer.to(new long[] {l});
            } else {
                type = "u64";
                value = Pointer.to((Pointer) argument);
            }
            int index = values.size();
            String declared = index < parameters.size() ? parameters.get(index) : "nothing";
            if (!type.equals(declared)) {
                throw new IllegalArgumentException(
                        "Parameter " + index + " of the kernel " + name + " is " + declared + ", not " + type + ".");
            }
            values.add(value);
        }
    }

    /** Names of the kernels launched so far, including captured launches. */
    Set<String> launched() {
        return kernels.entrySet().stream()
                .filter(kernel -> kernel.getValue().launched)
                .map(Map.Entry::getKey)
                .collect(Collectors.toSet());
    }

    /**
     * Loads the kernels of a file, unless they are loaded.
     *
     * @throws CudaException if the driver refuses them
     */
    void load(String file) {
        context.enter();
        if (!modules.containsKey(file)) {
            load(file, ptx.apply(file));
        }
    }

    /** Loads the kernels of a file from its PTX. */
    void load(String file, String ptx) {
        byte[] image = (ptx + '\0').getBytes(StandardCharsets.UTF_8);
        byte[] errors = new byte[LOG_BYTES];
        JITOptions options = new JITOptions();
        options.putInt(CUjit_option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, LOG_BYTES);
        options.putBytes(CUjit_option.CU_JIT_ERROR_LOG_BUFFER, errors);
        CUmodule module = new CUmodule();
        int result = JCudaDriver.cuModuleLoadDataJIT(module, Pointer.to(image), options);
        if (result != CUresult.CUDA_SUCCESS) {
            String log = new String(options.getBytes(CUjit_option.CU_JIT_ERROR_LOG_BUFFER), StandardCharsets.UTF_8);
            context.check(result, "loading the kernels of " + file + ".ptx" + firstError(log));
        }
        modules.put(file, module);
        for (Matcher entry = ENTRY.matcher(ptx); entry.find(); ) {
            List<String> parameters = new ArrayList<>();
            for (Matcher parameter = PARAMETER.matcher(entry.group(2)); parameter.find(); ) {
                parameters.add(parameter.group(1));
            }
            CUfunction function = new CUfunction();
            context.check(
                    JCudaDriver.cuModuleGetFunction(function, module, entry.group(1)),
                    "finding the kernel " + entry.group(1));
            kernels.put(entry.group(1), new Kernel(function, parameters));
        }
    }

    /** The first error in the driver's log, in brackets, without the warnings before it; empty if the log is. */
    static String firstError(String log) {
        List<String> lines = log.replace('\0', '\n')
                .lines()
                .map(String::strip)
                .filter(line -> !line.isEmpty())
                .toList();
        return Stream.concat(lines.stream().filter(line -> ERROR.matcher(line).find()), lines.stream())
                .findFirst()
                .map(line -> " (" + line + ")")
                .orElse("");
    }

    /** The PTX of a file, from the class path. */
    static String compiled(String file) {
        try (InputStream in = Kernels.class.getResourceAsStream(file + ".ptx")) {
            if (in == null) {
                throw new IllegalArgumentException("There are no compiled kernels " + file + ".ptx in this build;"
                        + " run scripts/compile-kernels and build again.");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        if (context.broken()) {
            return;
        }
        context.enter();
        for (CUmodule module : modules.values()) {
            context.check(JCudaDriver.cuModuleUnload(module), "unloading kernels");
        }
    }
}
