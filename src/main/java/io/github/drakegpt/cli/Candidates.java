package io.github.drakegpt.cli;

import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.train.Settings;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;

/** Values that a shell completes. */
final class Candidates {
    private Candidates() {}

    private abstract static class Names implements Iterable<String> {
        private final List<String> names;

        Names(List<String> names) {
            this.names = names;
        }

        @Override
        public Iterator<String> iterator() {
            return names.iterator();
        }
    }

    /** The six models. */
    static final class OfModels extends Names {
        OfModels() {
            super(Models.NAMES);
        }
    }

    /** The models of the journey. */
    static final class OfStages extends Names {
        OfStages() {
            super(Stage.ALL.stream().map(Stage::name).toList());
        }
    }

    /** Configurations. */
    static final class OfConfigurations extends Names {
        OfConfigurations() {
            super(List.copyOf(Settings.BUILT_IN));
        }
    }

    /** Quantizations. */
    static final class OfQuantizations extends Names {
        OfQuantizations() {
            super(Arrays.stream(Quantization.values()).map(Quantization::label).toList());
        }
    }

    /** Devices. */
    static final class OfDevices extends Names {
        OfDevices() {
            super(List.of("auto", "cpu", "cuda"));
        }
    }

    /** Precisions. */
    static final class OfPrecisions extends Names {
        OfPrecisions() {
            super(Arrays.stream(Precision.values()).map(Precision::label).toList());
        }
    }
}
