package io.github.drakegpt.data;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** SHA-256 sums in hexadecimal digits: they tell whether a file is still the one that was written. */
public final class Sha256 {
    private Sha256() {}

    /** Sum of a file. */
    public static String of(Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            return of(in::transferTo);
        }
    }

    /** Sum of what would be written. */
    public static String of(AtomicFiles.Content content) throws IOException {
        return write(content, OutputStream.nullOutputStream());
    }

    /** Writes, and answers the sum of what was written. */
    public static String write(AtomicFiles.Content content, OutputStream out) throws IOException {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
        content.writeTo(new DigestOutputStream(out, digest));
        return HexFormat.of().formatHex(digest.digest());
    }
}
