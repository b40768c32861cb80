package io.github.drakegpt.checkpoint;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.AccessMode;
import java.nio.file.CopyOption;
import java.nio.file.DirectoryStream;
import java.nio.file.FileStore;
import java.nio.file.FileSystem;
import java.nio.file.LinkOption;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.nio.file.StandardOpenOption;
import java.nio.file.WatchService;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.FileAttributeView;
import java.nio.file.attribute.UserPrincipalLookupService;
import java.nio.file.spi.FileSystemProvider;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;

/**
 * The real file system, until a given number of changes (files begun, renamed or removed) are done. From then on nothing
 * works any more, as if the process had been killed at that moment: not even what it does on its way out.
 */
final class MortalFileSystem extends FileSystem {
    /** Thrown by everything after the end. */
    static final class Killed extends Error {
        private static final long serialVersionUID = 1;
    }

    private final FileSystem real;
    private final Provider provider;

    private MortalFileSystem(FileSystem real, int changes) {
        this.real = real;
        this.provider = new Provider(real.provider(), changes);
    }

    /** The path in a file system that dies after this many changes. */
    static Path path(Path path, int changes) {
        return new MortalFileSystem(path.getFileSystem(), changes).wrap(path);
    }

    private Path wrap(Path path) {
        return (Path) Proxy.newProxyInstance(
                Wrapped.class.getClassLoader(),
                new Class<?>[] {Path.class, Wrapped.class},
                (proxy, method, arguments) -> {
                    if (method.getName().equals("getFileSystem")) {
                        return this;
                    }
                    if (method.getName().equals("unwrap")) {
                        return path;
                    }
                    try {
                        Object[] plain = arguments == null
                                ? null
                                : Arrays.stream(arguments)
                                        .map(MortalFileSystem::plain)
                                        .toArray();
                        Object result = method.invoke(path, plain);
                        return result instanceof Path resulting ? wrap(resulting) : result;
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    private interface Wrapped {
        Path unwrap();
    }

    private static Object plain(Object argument) {
        return argument instanceof Wrapped wrapped ? wrapped.unwrap() : argument;
    }

    private static Path plain(Path path) {
        return (Path) plain((Object) path);
    }

    private final class Provider extends FileSystemProvider {
        private final FileSystemProvider real;
        private int left;

        Provider(FileSystemProvider real, int changes) {
            this.real = real;
            this.left = changes;
        }

        private void change() {
            if (left <= 0) {
                left = -1;
                throw new Killed();
            }
            left--;
        }

        private void look() {
            if (left < 0) {
                throw new Killed();
            }
        }

        private void open(Set<? extends OpenOption> options) {
            if (options.contains(StandardOpenOption.WRITE) || options.contains(StandardOpenOption.APPEND)) {
                change();
            } else {
                look();
            }
        }

        @Override
        public FileChannel newFileChannel(Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes)
                throws IOException {
            open(options);
            return real.newFileChannel(plain(path), options, attributes);
        }

        @Override
        public SeekableByteChannel newByteChannel(
                Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes) throws IOException {
            open(options);
            return real.newByteChannel(plain(path), options, attributes);
        }

        @Override
        public void createDirectory(Path path, FileAttribute<?>... attributes) throws IOException {
            change();
            real.createDirectory(plain(path), attributes);
        }

        @Override
        public void delete(Path path) throws IOException {
            change();
            real.delete(plain(path));
        }

        @Override
        public void copy(Path source, Path target, CopyOption... options) throws IOException {
            change();
            real.copy(plain(source), plain(target), options);
        }

        @Override
        public void move(Path source, Path target, CopyOption... options) throws IOException {
            change();
            real.move(plain(source), plain(target), options);
        }

        @Override
        public DirectoryStream<Path> newDirectoryStream(Path path, DirectoryStream.Filter<? super Path> filter)
                throws IOException {
            look();
            DirectoryStream<Path> entries = real.newDirectoryStream(plain(path), filter);
            return (DirectoryStream<Path>) new DirectoryStream<Path>() {
                @Override
                public java.util.Iterator<Path> iterator() {
                    java.util.Iterator<Path> plain = entries.iterator();
                    return new java.util.Iterator<>() {
                        @Override
                        public boolean hasNext() {
                            return plain.hasNext();
                        }

                        @Override
                        public Path next() {
                            return wrap(plain.next());
                        }
                    };
                }

                @Override
                public void close() throws IOException {
                    entries.close();
                }
            };
        }

        @Override
        public void checkAccess(Path path, AccessMode... modes) throws IOException {
            look();
            real.checkAccess(plain(path), modes);
        }

        @Override
        public <A extends BasicFileAttributes> A readAttributes(Path path, Class<A> type, LinkOption... options)
                throws IOException {
            look();
            return real.readAttributes(plain(path), type, options);
        }

        @Override
        public Map<String, Object> readAttributes(Path path, String attributes, LinkOption... options)
                throws IOException {
            look();
            return real.readAttributes(plain(path), attributes, options);
        }

        @Override
        public <V extends FileAttributeView> V getFileAttributeView(Path path, Class<V> type, LinkOption... options) {
            look();
            return real.getFileAttributeView(plain(path), type, options);
        }

        @Override
        public void setAttribute(Path path, String attribute, Object value, LinkOption... options) throws IOException {
            change();
            real.setAttribute(plain(path), attribute, value, options);
        }

        @Override
        public boolean isSameFile(Path path, Path other) throws IOException {
            return real.isSameFile(plain(path), plain(other));
        }

        @Override
        public boolean isHidden(Path path) throws IOException {
            return real.isHidden(plain(path));
        }

        @Override
        public FileStore getFileStore(Path path) throws IOException {
            return real.getFileStore(plain(path));
        }

        @Override
        public String getScheme() {
            return "mortal";
        }

        @Override
        public FileSystem newFileSystem(URI uri, Map<String, ?> environment) {
            throw new UnsupportedOperationException();
        }

        @Override
        public FileSystem getFileSystem(URI uri) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Path getPath(URI uri) {
            throw new UnsupportedOperationException();
        }
    }

    @Override
    public FileSystemProvider provider() {
        return provider;
    }

    @Override
    public Path getPath(String first, String... more) {
        return wrap(real.getPath(first, more));
    }

    @Override
    public void close() {}

    @Override
    public boolean isOpen() {
        return true;
    }

    @Override
    public boolean isReadOnly() {
        return false;
    }

    @Override
    public String getSeparator() {
        return real.getSeparator();
    }

    @Override
    public Iterable<Path> getRootDirectories() {
        return real.getRootDirectories();
    }

    @Override
    public Iterable<FileStore> getFileStores() {
        return real.getFileStores();
    }

    @Override
    public Set<String> supportedFileAttributeViews() {
        return real.supportedFileAttributeViews();
    }

    @Override
    public PathMatcher getPathMatcher(String pattern) {
        return real.getPathMatcher(pattern);
    }

    @Override
    public UserPrincipalLookupService getUserPrincipalLookupService() {
        return real.getUserPrincipalLookupService();
    }

    @Override
    public WatchService newWatchService() throws IOException {
        return real.newWatchService();
    }
}
