package io.github.drakegpt.backend;

import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The machine that this process runs on. */
public final class Host {
    private static final class Name {
        static final String VALUE = find().replaceAll("[^\\p{L}\\p{N}._-]", "_");
    }

    private Host() {}

    /** Its name: letters, digits, and {@code . _ -} only. */
    public static String name() {
        return Name.VALUE;
    }

    /** From a local source where there is one: Java's way asks a name server, which may take long. */
    private static String find() {
        try {
            return Files.readString(Path.of("/proc/sys/kernel/hostname")).strip(); // Linux
        } catch (IOException notLinux) {
            String windows = System.getenv("COMPUTERNAME");
            if (windows != null) {
                return windows;
            }
        }
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException e) {
            return "localhost";
        }
    }
}
