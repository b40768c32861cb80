package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.backend.Host;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class LockFileTest {
    private static final Duration REFRESH = LockFile.Rules.USUAL.refresh();

    /** A file system that has no locks. */
    private static final LockFile.Rules NO_LOCKS = new LockFile.Rules(
            channel -> {
                throw new IOException("No locks available");
            },
            REFRESH);

    /** A file system whose locks are each machine's own, as a process on another machine finds them. */
    private static final LockFile.Rules LOCAL_LOCKS = new LockFile.Rules(channel -> true, REFRESH);

    @TempDir
    Path path;

    private Path file;
    private final List<Process> processes = new ArrayList<>();

    @BeforeEach
    void nameTheFile() {
        file = path.resolve(".lock");
    }

    @AfterEach
    void endProcesses() {
        processes.forEach(Process::destroyForcibly);
    }

    @Test
    void theFileSaysWhoHoldsTheFolder() throws Exception {
        Instant before = Instant.now();
        try (Folder folder = Folder.lock(path)) {
            Process cat =
                    new ProcessBuilder("cat", file.toString()).start(); // if this process closed it, it would lose it
            String line = new String(cat.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

            assertThat(line)
                    .startsWith("process " + ProcessHandle.current().pid() + " on host " + Host.name() + " since ")
                    .matches(".*Z \\([0-9a-f]{16}\\)\n");
            assertThat(Instant.parse(line.split(" ")[6])).isBetween(before.minusSeconds(1), Instant.now());
            assertThat(folder.names()).isEmpty();
        }
        assertThat(path).isEmptyDirectory();
    }

    @Test
    void anotherProcessIsNamedUntilItIsKilled() throws Exception {
        Process holder = start();
        assertThat(says(holder)).isEqualTo("locked");
        String who = Files.readString(file).replaceAll(" \\(.*\n", "");
        assertThat(who).startsWith("process " + holder.pid() + " on host " + Host.name() + " since ");

        assertThatThrownBy(() -> Folder.lock(path))
                .isInstanceOf(FolderLockedException.class)
                .hasMessage(path + " is being used by " + who
                        + "; wait until that is done, stop it, or choose another folder.");
        Files.setLastModifiedTime(file, ago(3600)); // it has the lock, however long it was suspended
        assertThatThrownBy(() -> Folder.lock(path)).isInstanceOf(FolderLockedException.class);

        kill(holder);
        assertThat(file).exists();
        Folder.lock(path).close();
        assertThat(path).isEmptyDirectory();
    }

    @Test
    void aRecentFileOfAnotherHostIsAHolderThere() throws IOException {
        String line = "process 4711 on host n017 since 2026-11-30T17:02:11Z (0123456789abcdef)\n";
        Files.writeString(file, line);
        Files.setLastModifiedTime(file, ago(50));

        for (LockFile.Rules rules : List.of(LockFile.Rules.USUAL, LOCAL_LOCKS, NO_LOCKS)) {
            assertThatThrownBy(() -> Folder.lock(path, rules))
                    .isInstanceOf(FolderLockedException.class)
                    .hasMessage(path + " is being used by process 4711 on host n017 since 2026-11-30T17:02:11Z; wait"
                            + " until that is done, stop it, or choose another folder, or, if it is surely gone, remove "
                            + file + " or wait 60 seconds.");
        }
        assertThat(file).hasContent(line);
        assertThat(path.toFile().list()).containsExactly(".lock");
    }

    @Test
    void anOldFileOfAnotherHostIsNobody() throws IOException {
        for (LockFile.Rules rules : List.of(LockFile.Rules.USUAL, LOCAL_LOCKS, NO_LOCKS)) {
            for (int age : new int[] {70, -3600}) { // a time in the future is no holder's, who has the same clock
                Files.writeString(file, "process 4711 on host n017 since 2026-11-30T17:02:11Z (0123456789abcdef)\n");
                Files.setLastModifiedTime(file, ago(age));

                try (Folder folder = Folder.lock(path, rules)) {
                    assertThat(folder.isLocked()).isTrue();
                    assertThat(path.toFile().list()).containsExactly(".lock");
                }
                assertThat(path).isEmptyDirectory();
            }
        }
    }

    @Test
    void aFileThatSaysNothingIsSomebodyWhoComesOrWasKilled() throws IOException {
        for (String text :
                new String[] {"", "\0\0\0\0", "process 1 on host \033[2J since 2026Z (0123456789abcdef)\n"}) {
            Files.writeString(file, text);
            assertThatThrownBy(() -> Folder.lock(path))
                    .isInstanceOf(FolderLockedException.class)
                    .hasMessage(path + " is being used by another process; wait until that is done, stop it, or choose"
                            + " another folder, or, if it is surely gone, remove " + file + " or wait 60 seconds.");

            Files.setLastModifiedTime(file, ago(70));
            Folder.lock(path).close();
            assertThat(path).isEmptyDirectory();
        }
    }

    @Test
    void withoutLocksAProcessOfThisHostHoldsTheFolderWhileItLives() throws Exception {
        Process holder = start();
        assertThat(says(holder)).isEqualTo("locked");
        Files.setLastModifiedTime(file, ago(3600));
        assertThatThrownBy(() -> Folder.lock(path, NO_LOCKS))
                .isInstanceOf(FolderLockedException.class)
                .hasMessageContaining(" is being used by process " + holder.pid() + " on host " + Host.name());

        kill(holder);
        Folder.lock(path, NO_LOCKS).close();
        assertThat(path).isEmptyDirectory();
    }

    /** In a container each process may have the same id. */
    @Test
    void aFileWithThisProcessesIdIsOfOneBeforeIt() throws IOException {
        for (LockFile.Rules rules : List.of(LockFile.Rules.USUAL, NO_LOCKS)) {
            Files.writeString(
                    file,
                    "process " + ProcessHandle.current().pid() + " on host " + Host.name()
                            + " since 2026-11-30T17:02:11Z (0123456789abcdef)\n");
            Folder.lock(path, rules).close();
            assertThat(path).isEmptyDirectory();
        }
    }

    @Test
    void theHolderKeepsTheFileRecent() throws Exception {
        LockFile.Rules rules = new LockFile.Rules(LockFile.Rules.USUAL.locks(), Duration.ofMillis(20));
        Instant before = Instant.now().minusSeconds(60);
        try (Folder folder = Folder.lock(path, rules)) {
            for (int i = 0; i < 3; i++) {
                // Java opens and closes a file to set its time, which would end the lock.
                Process touch = new ProcessBuilder("touch", "-d", "2020-01-01", file.toString()).start();
                assertThat(touch.waitFor()).isZero();
                while (Files.getLastModifiedTime(file).toInstant().isBefore(before)) {
                    Thread.onSpinWait();
                }
            }
            assertThat(says(start()))
                    .startsWith(path + " is being used by process "
                            + ProcessHandle.current().pid());
            assertThat(folder.isLocked()).isTrue();
        }
        assertThat(path).isEmptyDirectory();
    }

    @Test
    void aLockThatSomebodyElseHasTakenIsNotRemoved() throws IOException {
        String other = "process 4711 on host n017 since 2026-11-30T17:02:11Z (0123456789abcdef)\n";
        try (Folder folder = Folder.lock(path)) {
            Files.delete(file);
            Files.writeString(file, other);
            assertThat(folder.isLocked()).isTrue();
        }
        assertThat(file).hasContent(other);
    }

    /** Between reading an old file and replacing it, another machine does the same. */
    @Test
    void whoeverReplacesAnOldFileLastGivesItBack() throws IOException {
        String other = "process 4711 on host n017 since 2026-11-30T17:02:11Z (0123456789abcdef)\n";
        Files.writeString(file, "");
        Files.setLastModifiedTime(file, ago(70));
        LockFile.Rules meanwhile = new LockFile.Rules(
                channel -> {
                    Files.delete(file);
                    Files.writeString(file, other);
                    return true;
                },
                REFRESH);

        assertThatThrownBy(() -> Folder.lock(path, meanwhile))
                .isInstanceOf(FolderLockedException.class)
                .hasMessageContaining("process 4711 on host n017");
        assertThat(file).hasContent(other);
    }

    /** Processes that lock a folder again and again, each 100 times: what is killed or slow never lets two inside. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void oneProcessAtATimeIsInside(boolean locks) throws Exception {
        List<Process> all = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            all.add(start("race", Boolean.toString(locks)));
        }
        for (Process process : all) {
            assertThat(says(process)).isEqualTo("done");
        }
        assertThat(path).isEmptyDirectory();
    }

    private static FileTime ago(int seconds) {
        return FileTime.from(Instant.now().minusSeconds(seconds));
    }

    private Process start(String... more) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Locker.class.getName(),
                path.toString()));
        command.addAll(List.of(more));
        Process process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        processes.add(process);
        return process;
    }

    private static String says(Process process) throws IOException {
        BufferedReader out = process.inputReader(StandardCharsets.UTF_8);
        return out.readLine();
    }

    private static void kill(Process process) throws InterruptedException {
        assertThat(process.destroyForcibly().waitFor(60, TimeUnit.SECONDS)).isTrue();
    }

    /** Another process: locks a folder until its input ends, or again and again. */
    static final class Locker {
        public static void main(String[] arguments) throws IOException {
            Path path = Path.of(arguments[0]);
            if (arguments.length > 1) {
                race(path, Boolean.parseBoolean(arguments[2]) ? LockFile.Rules.USUAL : NO_LOCKS);
                return;
            }
            try {
                Folder.lock(path);
                System.out.println("locked");
            } catch (IOException e) {
                System.out.println(e.getMessage());
            }
            while (System.in.read() >= 0) {}
        }

        private static void race(Path path, LockFile.Rules rules) throws IOException {
            for (int entered = 0; entered < 100; ) {
                try (Folder folder = Folder.lock(path, rules)) {
                    Path inside = path.resolve("inside");
                    Files.write(inside, new byte[0], StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
                    Files.delete(inside);
                    if (folder.isLocked()) {
                        entered++;
                    }
                } catch (FolderLockedException e) {
                    Thread.onSpinWait();
                }
            }
            System.out.println("done");
        }
    }
}
