package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.model.Models;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SeedGroupTest {
    @TempDir
    Path temp;

    private final List<Path> folders = new ArrayList<>();

    private void add(String name, String model, int seed, double valLoss) throws IOException {
        folders.add(TestRuns.create(temp.resolve(name), model, seed, "lyrics", valLoss));
    }

    private List<SeedGroup> groups() throws IOException {
        return SeedGroup.of(RunReport.read(folders));
    }

    @Test
    void runsThatDifferInTheSeedAloneAreOneGroupWithTheirMean() throws IOException {
        add("small-seed1", Models.BIGRAM, 1, 2.5);
        add("other", Models.SINGLE_HEAD, 1, 2);
        add("small-seed2", Models.BIGRAM, 2, 2.25);
        add("small-seed3", Models.BIGRAM, 3, Double.NaN);

        assertThat(groups()).extracting(SeedGroup::name).containsExactly("small", "other");
        SeedGroup group = groups().get(0);
        assertThat(group.runs())
                .extracting(RunReport::name)
                .containsExactly("small-seed1", "small-seed2", "small-seed3");
        assertThat(group.valLoss()).hasValue(2.375); // of those that have one
        assertThat(group.stage().name()).isEqualTo(Models.BIGRAM);
    }

    @Test
    void aRepetitionWithTheSameSeedIsAGroupOfItsOwn() throws IOException {
        add("a1", Models.BIGRAM, 1, 2.5);
        add("b1", Models.BIGRAM, 1, 2.5);
        add("a2", Models.BIGRAM, 2, 2.5);

        assertThat(groups()).extracting(SeedGroup::name).containsExactly("a", "b1");
    }

    @Test
    void namesWithoutACommonBeginningGiveWayToTheModelsAndStayDistinct() throws IOException {
        add("seed-1", Models.BIGRAM, 1, 2.5);
        add("seed-2", Models.BIGRAM, 2, 2.5);
        assertThat(groups()).extracting(SeedGroup::name).containsExactly(Models.BIGRAM);

        add("x", Models.BIGRAM, 1, 2.5);
        add("y", Models.BIGRAM, 2, 2.5);
        assertThat(groups()).extracting(SeedGroup::name).containsExactly(Models.BIGRAM, "BigramLM, from x");
    }
}
