import io.github.drakegpt.Device;
import io.github.drakegpt.GenerationOptions;
import io.github.drakegpt.TextModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Texts from several threads, which share one model's weights: each text is the one that its seed gives alone.
 *
 * <pre>java -cp target/drakegpt.jar src/examples/java/TextsFromThreads.java data/pretrained/TransformerLM</pre>
 */
public class TextsFromThreads {
    public static void main(String[] args) throws IOException {
        try (Device device = Device.open("cpu");
                TextModel model = TextModel.load(device, Path.of(args[0]))) {
            List<String> lines = IntStream.range(0, 8)
                    .parallel()
                    .mapToObj(seed -> line(model, seed))
                    .toList();
            lines.forEach(System.out::println);
            System.out.println("as alone: " + lines.get(5).equals(line(model, 5)));
        }
    }

    /** Writes until the line ends, which stops the generation. */
    private static String line(TextModel model, long seed) {
        StringBuilder line = new StringBuilder("Tonight ");
        GenerationOptions options = GenerationOptions.builder()
                .length(100)
                .temperature(0.8f)
                .seed(seed)
                .build();
        model.generate("Tonight ", options, character -> {
            boolean more = !character.equals("\n");
            if (more) {
                line.append(character);
            }
            return more;
        });
        return line.toString();
    }
}
