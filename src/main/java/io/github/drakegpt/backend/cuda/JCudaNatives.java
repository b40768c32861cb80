package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.NativeFolder;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.IntSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jcuda.CudaException;
import jcuda.JCudaVersion;
import jcuda.LibUtils;
import jcuda.driver.CUresult;

/**
 * Lets JCuda's classes load their native libraries from a private folder. By default they unpack them into the folder
 * for temporary files under a fixed name, and trust an existing file, which on a machine with several users could be
 * anybody's.
 */
final class JCudaNatives {
    private static final String TEMPORARY_FOLDER = "java.io.tmpdir";
    private static final Pattern LINK_ERROR = Pattern.compile("UnsatisfiedLinkError: (.+)");

    private final NativeFolder folder;

    JCudaNatives(NativeFolder folder) {
        this.folder = folder;
        try {
            // Both read java.io.tmpdir once, at first use, which must not happen while it points to our folder.
            Files.delete(File.createTempFile("drakegpt", null).toPath());
            Files.delete(Files.createTempFile("drakegpt", null));
        } catch (IOException e) {
            // They have read it nevertheless.
        }
    }

    /** A change to a library before it is loaded. */
    @FunctionalInterface
    interface Change {
        byte[] apply(byte[] library) throws IOException;
    }

    /**
     * Loads a library by initialising the class that belongs to it.
     *
     * @param name JCuda's name for both, such as {@code JCublas2}
     * @param initialiser something that makes the class load its library
     * @throws UnsatisfiedLinkError if it cannot be loaded
     */
    void load(String name, Change change, Runnable initialiser) throws IOException {
        String file =
                LibUtils.createLibraryFileName(LibUtils.createPlatformLibraryName(name + "-" + JCudaVersion.get()));
        Path library = folder.put(file, change.apply(resource("lib/" + file)));
        String temporary = System.getProperty(TEMPORARY_FOLDER);
        System.setProperty(TEMPORARY_FOLDER, library.getParent().toString());
        try {
            initialiser.run();
        } finally {
            System.setProperty(TEMPORARY_FOLDER, temporary);
        }
    }

    private static byte[] resource(String name) throws IOException {
        try (InputStream in = LibUtils.class.getClassLoader().getResourceAsStream(name)) {
            if (in == null) {
                throw new FileNotFoundException(name + " is not on the class path");
            }
            return in.readAllBytes();
        }
    }

    /** The reason why a library could not be loaded, without the pages of stack traces in JCuda's message. */
    static String reason(UnsatisfiedLinkError error) {
        String reason = error.getMessage();
        Matcher matcher = LINK_ERROR.matcher(reason);
        while (matcher.find()) {
            reason = matcher.group(1); // the last is the attempt to load our unpacked file
        }
        return reason;
    }

    /**
     * Calls the driver. The embedding program may have turned on JCuda's exceptions, so both kinds of failure are
     * handled.
     *
     * @return the name of the error, such as {@code CUDA_ERROR_NO_DEVICE}; empty if there was none
     */
    static String error(IntSupplier call) {
        try {
            int result = call.getAsInt();
            return result == CUresult.CUDA_SUCCESS ? "" : CUresult.stringFor(result);
        } catch (CudaException e) {
            return e.getMessage();
        }
    }
}
