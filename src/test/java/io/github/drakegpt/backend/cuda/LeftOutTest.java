package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * What the tests of the PTX have noticed when the SIMT driver left lines of it out: each line that orders threads, or waits for
 * copies, has to be missed by one of them. It runs behind those tests.
 */
@Tag("left-out")
class LeftOutTest {
    private static final Path FOLDER = Path.of("target/left-out"); // SIMT_LEAVE_OUT in pom.xml
    private static final Pattern ENTRY = Pattern.compile("\\.entry (\\w+)\\(");
    private static final Pattern ORDERS = Pattern.compile("bar\\.sync|bar\\.warp\\.sync|cp\\.async\\.wait_all");

    @Test
    void eachBarrierAndEachWaitIsMissedWhenItIsLeftOut() throws IOException {
        assertThat(FOLDER).as("written by the execution simt-ptx; run it first").isDirectory();
        Map<String, Path> files = new HashMap<>(); // by kernel
        Set<String> expected = new TreeSet<>();
        try (Stream<Path> ptx = Files.list(Path.of("kernels/ptx"))) {
            for (Path file : ptx.toList()) {
                List<String> lines = Files.readAllLines(file);
                for (int i = 0; i < lines.size(); i++) {
                    Matcher entry = ENTRY.matcher(lines.get(i));
                    if (entry.find()) {
                        files.put(entry.group(1), file);
                    }
                    if (ORDERS.matcher(lines.get(i)).find()) {
                        expected.add(name(file, i + 1));
                    }
                }
            }
        }
        Set<String> noticed = new HashSet<>();
        try (Stream<Path> reports = Files.list(FOLDER)) {
            for (Path report : reports.toList()) {
                for (String line : Files.readAllLines(report)) {
                    String[] fields = line.split("\t"); // noticed or missed, kernel, line, text
                    if (fields[0].equals("noticed")) {
                        noticed.add(name(files.get(fields[1]), Integer.parseInt(fields[2])));
                    }
                }
                Files.delete(report); // of this build only
            }
        }
        assertThat(expected).isNotEmpty();
        assertThat(noticed).containsAll(expected);
    }

    private static String name(Path file, int line) {
        return file + ":" + line;
    }
}
