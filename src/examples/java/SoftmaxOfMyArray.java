import io.github.drakegpt.Device;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/**
 * Softmax, and its gradient, in the program's own memory: the CPU works on the arrays themselves.
 *
 * <pre>java -cp target/drakegpt.jar src/examples/java/SoftmaxOfMyArray.java</pre>
 */
public class SoftmaxOfMyArray {
    public static void main(String[] args) {
        float[] scores = {1, 2, 3, 4, 1, 1, 1, 1}; // (2, 4)
        float[] gradient = {1, 0, 0, 0, 0, 0, 0, 1};
        try (Device device = Device.open("cpu")) {
            Tensor x = device.wrap(scores, 2, 4);
            Tensor dx = device.wrap(gradient, 2, 4);
            device.softmax(x, x);
            device.softmaxGrad(x, dx, dx);
            device.softmax(x.rows(1, 2), x.rows(1, 2)); // one row, in place
        }
        System.out.println("probabilities " + Arrays.toString(scores));
        System.out.println("gradients " + Arrays.toString(gradient));
    }
}
