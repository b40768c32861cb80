import io.github.drakegpt.Device;
import io.github.drakegpt.GenerationOptions;
import io.github.drakegpt.TextModel;
import io.github.drakegpt.Training;
import io.github.drakegpt.TrainingListener;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Trains a model on a text of one's own, shows how it gets on, and lets it write.
 *
 * <pre>java -cp target/drakegpt.jar src/examples/java/TrainOnMyText.java README.md 1000</pre>
 */
public class TrainOnMyText {
    public static void main(String[] args) throws IOException {
        String text = Files.readString(Path.of(args[0]));
        try (Device device = Device.open();
                TextModel model = Training.of(device, text)
                        .steps(Integer.parseInt(args[1]))
                        .set("train.eval_interval", 250)
                        .set("train.eval_iters", 20)
                        .seed(7)
                        .listener(new Losses())
                        .train()) {
            GenerationOptions options =
                    GenerationOptions.builder().length(200).seed(1).build();
            System.out.println(model.generate("", options));
        }
    }

    static class Losses implements TrainingListener {
        @Override
        public void onEvaluation(Evaluation evaluation) {
            System.out.printf(
                    "step %d: train loss %.3f, val loss %.3f%n",
                    evaluation.step(), evaluation.trainLoss(), evaluation.valLoss());
        }

        @Override
        public void onEnd(End end) {
            System.out.println("training has ended: " + end);
        }

        @Override
        public void close() {
            System.out.println("listener closed");
        }
    }
}
