package io.github.drakegpt;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.slf4j.LoggerFactory;

/** Which package may know which. */
class LayersTest {
    private static final String ROOT = "io.github.drakegpt.";

    /** The package of those who embed the library. */
    private static final String FRONT_DOOR = "io.github.drakegpt";

    /** A package may use those before it. */
    static final List<String> LAYERS = List.of(
            "tensor",
            "quant",
            "ops",
            "backend",
            "backend.cpu",
            "backend.cuda",
            "backend.mpi",
            "nn",
            "model",
            "data",
            "checkpoint",
            "train",
            "tracking",
            "report",
            "profile",
            FRONT_DOOR,
            "cli");

    private static String packageOf(String layer) {
        return layer.equals(FRONT_DOOR) ? layer : ROOT + layer;
    }

    private static JavaClasses classes;

    @BeforeAll
    static void importMainClasses() {
        ((Logger) LoggerFactory.getLogger("com.tngtech.archunit")).setLevel(Level.WARN);
        classes = new ClassFileImporter()
                .withImportOption(new ImportOption.DoNotIncludeTests())
                .importPackages("io.github.drakegpt");
    }

    @Test
    void everyPackageHasItsPlace() {
        assertThat(classes.stream().map(c -> c.getPackageName()).distinct())
                .contains(ROOT + "tensor", ROOT + "cli")
                .allSatisfy(name ->
                        assertThat(LAYERS.stream().map(LayersTest::packageOf)).contains(name));
    }

    @ParameterizedTest
    @FieldSource("LAYERS")
    void aPackageUsesOnlyThoseBeforeIt(String layer) {
        String[] later = LAYERS.stream()
                .skip(LAYERS.indexOf(layer) + 1L)
                .map(LayersTest::packageOf)
                .toArray(String[]::new);
        if (later.length > 0) {
            noClasses()
                    .that()
                    .resideInAPackage(packageOf(layer))
                    .should()
                    .dependOnClassesThat()
                    .resideInAnyPackage(later)
                    .allowEmptyShould(true)
                    .check(classes);
        }
    }

    @Test
    void textsAndTokensNeedNoModel() {
        String[] others = LAYERS.stream()
                .filter(name -> !List.of("data", "tensor", "ops", "backend").contains(name))
                .map(LayersTest::packageOf)
                .toArray(String[]::new);
        noClasses()
                .that()
                .resideInAPackage(ROOT + "data")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(others)
                .check(classes);
    }

    @ParameterizedTest
    @CsvSource({"backend.cpu", "backend.cuda"})
    void devicesAreOnlyFoundByTheServiceLoader(String device) {
        noClasses()
                .that()
                .resideOutsideOfPackage(ROOT + device)
                .and()
                .areNotAssignableTo(CudaInterop.class) // which is for one device
                .should()
                .dependOnClassesThat()
                .resideInAPackage(ROOT + device)
                .check(classes);
    }

    @Test
    void packagesHaveNoCycles() {
        slices().matching("io.github.drakegpt.(**)").should().beFreeOfCycles().check(classes);
    }

    @ParameterizedTest
    @CsvSource({
        "backend.cuda, jcuda..",
        "checkpoint, ai.onnx..",
        "checkpoint, com.google.protobuf..",
        "cli, picocli..",
        "cli, me.tongfei.progressbar..",
        "cli, ch.qos.logback..",
        "report, com.github.weisj..",
        "report, com.sun.net.httpserver..",
        "report, java.awt.."
    })
    void aLibraryIsUsedByOnePackageOnly(String user, String library) {
        noClasses()
                .that()
                .resideOutsideOfPackage(ROOT + user)
                .and()
                .areNotAssignableTo(CudaInterop.class) // which takes JCuda's objects from programs that have it
                .should()
                .dependOnClassesThat()
                .resideInAPackage(library)
                .check(classes);
    }

    @Test
    void nobodyTouchesJavaUtilLogging() {
        noClasses()
                .should()
                .dependOnClassesThat()
                .resideInAPackage("java.util.logging..")
                .check(classes);
    }
}
