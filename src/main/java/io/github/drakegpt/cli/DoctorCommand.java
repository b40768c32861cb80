package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.mpi.MpiCollective;
import io.github.drakegpt.data.ProjectHome;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code doctor}: checks this machine, and says what is missing and how to fix it. */
@Command(
        name = "doctor",
        mixinStandardHelpOptions = true,
        description = "Checks this machine for DrakeGPT: shows what is there, what is missing, how to fix it, and how"
                + " long training takes.")
final class DoctorCommand implements Callable<Integer> {
    @Option(names = "--json", description = "Print one JSON object.")
    private boolean json;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        Map<String, Map<String, String>> sections = new LinkedHashMap<>();
        Map<String, String> machine = Machine.facts();
        machine.put("free memory", Machine.freeMemory());
        sections.put("machine", machine);
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
        sections.put("several processes", MpiCollective.facts());
        sections.put("files", files());
        if (!json) {
            sections.forEach(DoctorCommand::print); // what follows takes some seconds
        }
        try (Backend backend = device.open()) {
            String training = "training on " + backend.name();
            sections.put(training, TrainingTimes.facts(backend));
            if (!json) {
                print(training, sections.get(training));
            }
        }
        if (json) {
            System.out.println(
                    new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(sections));
        }
        return 0;
    }

    private static void print(String section, Map<String, String> facts) {
        System.out.println(section);
        facts.forEach((name, value) -> System.out.printf("  %-16s %s%n", name, value));
    }

    private static Map<String, String> files() throws IOException {
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put(
                "bundled lyrics",
                ProjectHome.find(ProjectHome.SAMPLE)
                        .map(Path::toString)
                        .orElse("not found; run from the project's folder or through scripts/drakegpt"));
        List<String> pretrained =
                Runs.allPretrained().stream().map(run -> run.stage().name()).toList();
        facts.put(
                "pretrained",
                pretrained.isEmpty()
                        ? "none found; run from the project's folder or through scripts/drakegpt"
                        : String.join(", ", pretrained));
        return facts;
    }
}
