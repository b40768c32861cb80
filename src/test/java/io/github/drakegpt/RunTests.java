package io.github.drakegpt;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClasspathRoots;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs the tests of one class that have a tag, for {@code gpu-check}, which gives each class a process of its own. Each test is
 * named on stderr before it begins, so that the last line names the one that did not come back.
 */
final class RunTests {
    private static final int MOST_CHARACTERS = 400; // of what is said about a failure
    private static final int MOST_FAILURES = 20;

    private RunTests() {}

    /**
     * {@code list TAG FOLDER} prints the classes below a folder of classes that have such tests; {@code TAG CLASS} runs one, and
     * prints a line of JSON. The exit code is 0 only if each test that could run has passed.
     */
    public static void main(String[] args) {
        Launcher launcher = LauncherFactory.create();
        if (args[0].equals("list")) {
            classes(launcher, args[1], Path.of(args[2])).forEach(System.out::println);
            return;
        }
        Count count = new Count(args[1]);
        launcher.execute(request(args[0], selectClass(args[1])), count);
        System.out.println(count.json());
        System.out.flush();
        System.exit(count.failed == 0 ? 0 : 1); // a driver's threads may be left
    }

    private static LauncherDiscoveryRequest request(String tag, DiscoverySelector selector) {
        return LauncherDiscoveryRequestBuilder.request()
                .selectors(selector)
                .filters(TagFilter.includeTags(tag))
                .build();
    }

    static Set<String> classes(Launcher launcher, String tag, Path folder) {
        TestPlan plan = launcher.discover(
                request(tag, selectClasspathRoots(Set.of(folder)).get(0)));
        Set<String> classes = new TreeSet<>();
        for (TestIdentifier root : plan.getRoots()) {
            for (TestIdentifier each : plan.getChildren(root)) {
                each.getSource()
                        .filter(ClassSource.class::isInstance)
                        .ifPresent(source -> classes.add(((ClassSource) source).getClassName()));
            }
        }
        return classes;
    }

    private static final class Count implements TestExecutionListener {
        private final long start = System.nanoTime();
        private final String name;
        private final ArrayNode failures = JsonNodeFactory.instance.arrayNode();
        private TestPlan plan;
        private int successful;
        private int failed;
        private int skipped;
        private String reason;

        Count(String name) {
            this.name = name;
        }

        @Override
        public void testPlanExecutionStarted(TestPlan testPlan) {
            plan = testPlan;
        }

        @Override
        public void executionStarted(TestIdentifier test) {
            if (test.isTest()) {
                System.err.println("test " + title(test));
            }
        }

        @Override
        public void executionSkipped(TestIdentifier test, String why) {
            skipped++;
            reason = why;
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            Throwable cause = result.getThrowable().orElse(null);
            switch (result.getStatus()) {
                case SUCCESSFUL -> successful += test.isTest() ? 1 : 0;
                case ABORTED -> { // of a class too: none of its tests is run then
                    skipped++;
                    reason = cause == null ? "" : cause.getMessage();
                }
                case FAILED -> {
                    failed++;
                    cause.printStackTrace();
                    if (failures.size() < MOST_FAILURES) {
                        String message = String.valueOf(cause.getMessage()).strip();
                        failures.add(
                                title(test) + ": " + message.substring(0, Math.min(MOST_CHARACTERS, message.length())));
                    }
                }
            }
        }

        /** With the names of what it belongs to, below the class. */
        private String title(TestIdentifier test) {
            String above = plan.getParent(test)
                    .filter(parent -> !(parent.getSource().orElse(null) instanceof ClassSource))
                    .map(parent -> parent.getDisplayName() + " ")
                    .orElse("");
            return above + test.getDisplayName();
        }

        String json() {
            ObjectNode row = JsonNodeFactory.instance
                    .objectNode()
                    .put("class", name.substring(name.lastIndexOf('.') + 1))
                    .put("successful", successful)
                    .put("failed", failed)
                    .put("skipped", skipped)
                    .put("seconds", Math.round((System.nanoTime() - start) / 1e8) / 10.0);
            if (reason != null) {
                row.put("reason", reason);
            }
            if (!failures.isEmpty()) {
                row.set("failures", failures);
            }
            return row.toString();
        }
    }
}
