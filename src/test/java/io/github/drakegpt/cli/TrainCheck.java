package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Trains the six models on a device, for {@code gpu-check}, and sets the losses beside those of the runs that come with the
 * project, which a CPU has trained; then generates with each of those on the device and on the CPU: the text has to be the same.
 */
final class TrainCheck {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** The CPU's own losses leave each other by less, when what is rounded otherwise has grown over some thousand steps. */
    private static final double TOLERANCE = 0.02;

    private final String device;
    private final List<String> settings;
    private final boolean checkedIn;
    private final int steps;
    private final Path folder = Files.createTempDirectory("train-check");
    private boolean failed;

    private TrainCheck(String device, int steps, boolean checkedIn) throws IOException {
        this.device = device;
        this.steps = steps;
        this.checkedIn = checkedIn;
        this.settings = checkedIn
                ? List.of("--iters", Integer.toString(steps))
                : List.of(
                        "--iters",
                        Integer.toString(steps),
                        "--set",
                        "train.eval_interval=" + steps,
                        "--set",
                        "train.eval_iters=2",
                        "--set",
                        "train.batch_size=4");
    }

    /**
     * Takes a device and a number of steps, prints a line of JSON for each model, and exits with 0 only if all is as on the CPU.
     * With {@code short} behind, batches, evaluations and texts are short, and the CPU trains the same here.
     */
    public static void main(String[] args) throws IOException {
        TrainCheck check = new TrainCheck(args[0], Integer.parseInt(args[1]), args.length == 2);
        check.run();
        System.exit(check.failed ? 1 : 0);
    }

    private void run() throws IOException {
        Path data = folder.resolve("data");
        run("setup", "--source", "sample", "--out", data.toString());
        for (String model : Models.NAMES) {
            ObjectNode row =
                    JsonNodeFactory.instance.objectNode().put("model", model).put("steps", steps);
            try {
                compare(model, data, row);
            } catch (IOException | RuntimeException e) {
                row.put("error", Main.sentence(e));
            }
            failed |= row.has("error");
            System.out.println(row);
            System.out.flush();
        }
    }

    private void compare(String model, Path data, ObjectNode row) throws IOException {
        long start = System.nanoTime();
        JsonNode ours = train(model, data, device);
        row.put("seconds", (System.nanoTime() - start) / 10_000_000 / 100.0);
        row.set("train_loss", ours.get("train_loss"));
        row.set("val_loss", ours.get("val_loss"));
        Path pretrained = Runs.pretrained(model).orElseThrow();
        JsonNode cpus = checkedIn ? evaluation(pretrained) : train(model, data, "cpu");
        row.set("cpu_train_loss", cpus.get("train_loss"));
        row.set("cpu_val_loss", cpus.get("val_loss"));
        String expected = text(pretrained, "cpu");
        String text = text(pretrained, device);
        row.put("same_text", text.equals(expected));
        double difference =
                ours.get("val_loss").asDouble() - cpus.get("val_loss").asDouble();
        if (!(Math.abs(difference) <= TOLERANCE)) {
            throw new IllegalStateException("The loss is not that of the CPU.");
        }
        if (!text.equals(expected)) {
            int same = 0;
            while (same < Math.min(text.length(), expected.length()) && text.charAt(same) == expected.charAt(same)) {
                same++;
            }
            throw new IllegalStateException("The text leaves the CPU's behind character " + same + ".");
        }
    }

    private JsonNode train(String model, Path data, String device) throws IOException {
        Path run = folder.resolve(model + "-" + device);
        List<String> command = new ArrayList<>(List.of("train", "--model", model, "--device", device));
        command.addAll(List.of("--data", data.toString(), "--run", run.toString(), "--progress", "none"));
        command.addAll(settings);
        run(command.toArray(String[]::new));
        return evaluation(run);
    }

    /** The evaluation of a run after as many steps. */
    private JsonNode evaluation(Path run) throws IOException {
        Optional<JsonNode> found = Optional.empty();
        for (String line : Files.readAllLines(run.resolve(RunFolder.METRICS))) {
            JsonNode row = JSON.readTree(line);
            if (row.get("step").asInt() == steps && row.hasNonNull("val_loss")) {
                found = Optional.of(row);
            }
        }
        return found.orElseThrow(
                () -> new IllegalStateException(run + " has no evaluation after " + steps + " steps."));
    }

    private String text(Path run, String device) {
        return run(
                "generate",
                "--run",
                run.toString(),
                "--length",
                checkedIn ? "300" : "20",
                "--seed",
                "7",
                "--device",
                device);
    }

    /** What a command prints. */
    private static String run(String... command) {
        Cli.Result result = Cli.run(command);
        System.err.print(result.err());
        if (result.code() != 0) {
            throw new IllegalStateException(
                    result.err().lines().reduce((first, last) -> last).orElse("exit code " + result.code()));
        }
        return result.out();
    }
}
