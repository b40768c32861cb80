package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.data.ProjectHome;
import io.github.drakegpt.model.Models;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code doctor}: checks this machine, and says what is missing and how to fix it. */
@Command(
        name = "doctor",
        mixinStandardHelpOptions = true,
        description = "Checks this machine for DrakeGPT: shows what is there, what is missing, and how to fix it.")
final class DoctorCommand implements Callable<Integer> {
    @Option(names = "--json", description = "Print one JSON object.")
    private boolean json;

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
