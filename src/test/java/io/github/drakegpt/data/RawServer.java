package io.github.drakegpt.data;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.URI;
import java.nio.charset.StandardCharsets;

/** A server on loopback that answers every request with the same bytes, whatever HTTP says of them, and hangs up. */
final class RawServer implements AutoCloseable {
    private final ServerSocket server = new ServerSocket(0, 0, InetAddress.getLoopbackAddress());

    RawServer(String answer) throws IOException {
        Thread thread = new Thread(() -> serve(answer.getBytes(StandardCharsets.ISO_8859_1)));
        thread.setDaemon(true);
        thread.start();
    }

    private void serve(byte[] answer) {
        while (true) {
            try (Socket socket = server.accept()) {
                var request = new BufferedReader(new InputStreamReader(socket.getInputStream()));
                while (!request.readLine().isEmpty()) {
                    // up to the end of the headers
                }
                socket.getOutputStream().write(answer);
            } catch (SocketException e) {
                return; // closed
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    URI uri(String path) {
        return URI.create("http://127.0.0.1:" + server.getLocalPort() + path);
    }

    @Override
    public void close() throws IOException {
        server.close();
    }
}
