import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.github.drakegpt.Device;
import io.github.drakegpt.TernaryLinear;
import io.github.drakegpt.TernaryMatrix;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;

/**
 * A matrix of 1.58 bits a weight behind HTTP: gets rows of floats, answers products, to many clients at once.
 *
 * <pre>java -cp target/drakegpt.jar src/examples/java/TernaryService.java</pre>
 */
public class TernaryService {
    public static void main(String[] args) throws Exception {
        float[] weights = new float[256 * 512]; // (out, in)
        for (int i = 0; i < weights.length; i++) {
            weights[i] = (float) Math.sin(i);
        }
        HttpServer server = HttpServer.create(new InetSocketAddress("localhost", 0), 0);
        var threads = Executors.newFixedThreadPool(4);
        try (Device device = Device.open();
                TernaryLinear linear = device.load(TernaryMatrix.quantize(weights, 256, 512))) {
            server.setExecutor(threads);
            server.createContext("/", exchange -> answer(linear, exchange));
            server.start();
            URI uri = URI.create("http://localhost:" + server.getAddress().getPort());
            byte[] row = ByteBuffer.allocate(4 * 512).putFloat(1).array();
            var request = HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofByteArray(row));
            HttpClient client = HttpClient.newHttpClient();
            IntStream.range(0, 8).parallel().forEach(i -> {
                var answer = client.sendAsync(request.build(), BodyHandlers.ofByteArray())
                        .join();
                System.out.println(answer.statusCode() + ", " + answer.body().length / 4 + " products");
            });
        } finally {
            server.stop(0);
            threads.shutdown();
        }
    }

    private static void answer(TernaryLinear linear, HttpExchange exchange) throws IOException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        float[] rows = new float[body.length / 4];
        ByteBuffer.wrap(body).asFloatBuffer().get(rows);
        float[] products = linear.multiply(rows);
        ByteBuffer answer = ByteBuffer.allocate(4 * products.length);
        answer.asFloatBuffer().put(products);
        exchange.sendResponseHeaders(200, answer.capacity());
        exchange.getResponseBody().write(answer.array());
        exchange.close();
    }
}
