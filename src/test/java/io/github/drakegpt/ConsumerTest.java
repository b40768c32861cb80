package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.github.drakegpt.backend.cuda.Simt;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A Maven project of somebody else, with an empty local repository, that depends on what the build has packaged. Central is
 * the local repository of this build, so nothing is fetched.
 */
@Tag("packaged")
class ConsumerTest {
    private static final String VERSION = "0.1.0";

    private static final String SETTINGS = """
            <settings>
              <localRepository>%s</localRepository>
              <mirrors><mirror><id>here</id><mirrorOf>central</mirrorOf><url>%s</url></mirror></mirrors>
            </settings>
            """;

    private static final String POM = """
            <project>
              <modelVersion>4.0.0</modelVersion>
              <groupId>app</groupId>
              <artifactId>app</artifactId>
              <version>1</version>
              <properties>
                <maven.compiler.release>17</maven.compiler.release>
                <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
              </properties>
              <repositories><repository><id>built</id><url>%s</url></repository></repositories>
              <dependencies>
                <dependency>
                  <groupId>io.github.drakegpt</groupId>
                  <artifactId>drakegpt</artifactId>
                  <version>0.1.0</version>
                </dependency>
              </dependencies>
              <build><plugins>
                <plugin><artifactId>maven-resources-plugin</artifactId><version>3.5.0</version></plugin>
                <plugin><artifactId>maven-compiler-plugin</artifactId><version>3.16.0</version></plugin>
                <plugin>
                  <artifactId>maven-antrun-plugin</artifactId>
                  <version>3.1.0</version>
                  <executions><execution>
                    <phase>compile</phase>
                    <goals><goal>run</goal></goals>
                    <configuration><target>
                      <pathconvert property="path" refid="maven.compile.classpath"/>
                      <echo file="path.txt">${path}</echo>
                    </target></configuration>
                  </execution></executions>
                </plugin>
              </plugins></build>
            </project>
            """;

    private static final String MODULE = "module app { requires io.github.drakegpt; }";

    private static final String PROGRAM = """
            package app;

            import io.github.drakegpt.Device;

            public class Program {
                public static void main(String[] args) {
                    float[] values = {0, 0, 0, 0};
                    try (Device device = Device.open("cpu")) {
                        device.softmax(device.wrap(values, 1, 4), device.wrap(values, 1, 4));
                        System.out.println(values[3] + " of " + device.description());
                    }
                }
            }
            """;

    @TempDir
    Path work;

    @Test
    void anotherProjectResolvesCompilesAndRuns() throws Exception {
        assumeTrue(Simt.onPath("mvn"), "mvn is not on the PATH");
        Path published = Files.createDirectories(work.resolve("remote/io/github/drakegpt/drakegpt/" + VERSION));
        Files.copy(Path.of("target/drakegpt-" + VERSION + ".jar"), published.resolve("drakegpt-" + VERSION + ".jar"));
        Files.copy(Path.of("pom.xml"), published.resolve("drakegpt-" + VERSION + ".pom"));
        Path repository = Path.of(System.getProperty("localRepository"));
        write("settings.xml", SETTINGS.formatted(work.resolve("empty"), repository.toUri()));
        write("pom.xml", POM.formatted(work.resolve("remote").toUri()));
        write("src/main/java/module-info.java", MODULE);
        write("src/main/java/app/Program.java", PROGRAM);

        assertThat(run("mvn", "-B", "-q", "-s", "settings.xml", "compile")).doesNotContain("ERROR");

        String path = Files.readString(work.resolve("path.txt"));
        List<String> jars = Stream.of(path.split(File.pathSeparator))
                .map(entry -> Path.of(entry).getFileName().toString())
                .filter(name -> name.endsWith(".jar"))
                .toList();
        assertThat(jars)
                .as("what the library needs, and nothing of the command line or of a GPU")
                .allMatch(name -> name.matches(
                        "(drakegpt|jackson-[a-z-]+|snakeyaml|slf4j-api|commons-(csv|io|codec))-[0-9.]+jar"))
                .contains("drakegpt-" + VERSION + ".jar");
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        assertThat(run(java, "-cp", path, "app.Program")).contains("0.25 of ");
        assertThat(run(java, "-p", path, "-m", "app/app.Program")).contains("0.25 of ");
    }

    private void write(String name, String text) throws IOException {
        Path file = work.resolve(name);
        Files.createDirectories(file.getParent());
        Files.writeString(file, text);
    }

    /** Returns what a program in the folder prints, after it has ended well. */
    private String run(String... command) throws Exception {
        Process process = new ProcessBuilder(command)
                .directory(work.toFile())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor())
                .as(String.join(" ", command) + "\n" + output)
                .isZero();
        return output;
    }
}
