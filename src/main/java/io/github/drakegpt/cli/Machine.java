package io.github.drakegpt.cli;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** Facts about this machine, without its devices. */
final class Machine {
    private static final Path CPU_INFO = Path.of("/proc/cpuinfo");
    private static final String CPU_NAME = "model name";

    private Machine() {}

    /** Names and values for people: Java, system, processor, cores, memory. */
    static Map<String, String> facts() throws IOException {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("Java", System.getProperty("java.vm.name") + " " + Runtime.version());
        facts.put("system", system.getName() + " " + system.getVersion() + ", " + system.getArch());
        Optional<String> processor = processor();
        if (processor.isPresent()) {
            facts.put("processor", processor.get());
        }
        facts.put("cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
        facts.put("memory", megabytes(system.getTotalMemorySize()));
        facts.put("Java heap", "up to " + megabytes(Runtime.getRuntime().maxMemory()) + " (java -Xmx changes that)");
        return facts;
    }

    static String freeMemory() {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return megabytes(system.getFreeMemorySize());
    }

    private static Optional<String> processor() throws IOException {
        if (!Files.isReadable(CPU_INFO)) {
            return Optional.empty(); // only Linux has it
        }
        try (Stream<String> lines = Files.lines(CPU_INFO)) {
            return lines.filter(line -> line.startsWith(CPU_NAME))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst();
        }
    }

    private static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%,d MB", bytes >> 20);
    }
}
