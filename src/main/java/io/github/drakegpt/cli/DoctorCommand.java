package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.management.OperatingSystemMXBean;
import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.data.ProjectHome;
import io.github.drakegpt.model.Models;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code doctor}: what this machine has, what is missing, and what mends it. */
@Command(
        name = "doctor",
        mixinStandardHelpOptions = true,
        description = "Shows what this machine has for DrakeGPT, what is missing, and what mends it.")
final class DoctorCommand implements Callable<Integer> {
    private static final Path CPU_INFO = Path.of("/proc/cpuinfo");
    private static final String CPU_NAME = "model name";

    @Option(names = "--json", description = "Print one JSON object.")
    private boolean json;

    @Override
    public Integer call() throws IOException {
        Map<String, Map<String, String>> sections = new LinkedHashMap<>();
        sections.put("machine", machine());
        for (BackendProvider provider : Backends.providers()) {
            if (provider.rank() < 0 && !provider.isPresent()) {
                continue; // only developers have it
            }
            Map<String, String> facts = new LinkedHashMap<>();
            facts.put(
                    "usable",
                    provider.obstacle().map(obstacle -> "no: " + obstacle).orElse("yes"));
            facts.putAll(provider.facts());
            sections.put("device " + provider.name(), facts);
        }
        sections.put("files", files());
        if (json) {
            System.out.println(
                    new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(sections));
            return 0;
        }
        sections.forEach((section, facts) -> {
            System.out.println(section);
            facts.forEach((name, value) -> System.out.printf("  %-16s %s%n", name, value));
        });
        return 0;
    }

    private static Map<String, String> machine() throws IOException {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("Java", System.getProperty("java.vm.name") + " " + Runtime.version());
        facts.put("system", system.getName() + " " + system.getVersion() + ", " + system.getArch());
        Optional<String> processor = processor();
        if (processor.isPresent()) {
            facts.put("processor", processor.get());
        }
        facts.put("cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
        facts.put("memory", megabytes(system.getTotalMemorySize()) + ", free " + megabytes(system.getFreeMemorySize()));
        facts.put("Java heap", "up to " + megabytes(Runtime.getRuntime().maxMemory()) + " (java -Xmx changes that)");
        return facts;
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

    private static Map<String, String> files() {
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put(
                "bundled lyrics",
                ProjectHome.find(ProjectHome.SAMPLE)
                        .map(Path::toString)
                        .orElse("not found; run from the project's folder or through scripts/drakegpt"));
        List<String> pretrained = Models.NAMES.stream()
                .filter(model -> Runs.pretrained(model).isPresent())
                .toList();
        facts.put(
                "pretrained",
                pretrained.isEmpty()
                        ? "none found; run from the project's folder or through scripts/drakegpt"
                        : String.join(", ", pretrained));
        return facts;
    }
}
