package io.github.drakegpt.backend;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Which of the processes that train one model together this is, as whatever started them says.
 *
 * @param number from 0
 * @param size how many there are
 * @param local which of those on this machine, from 0: the number of its GPU
 */
public record Rank(int number, int size, int local) {
    /** The only process. */
    public static final Rank ALONE = new Rank(0, 1, 0);

    /** Names of the environment's variables for number, size and local number. */
    private record Names(String number, String size, String local) {
        Stream<String> all() {
            return Stream.of(number, size, local);
        }
    }

    /**
     * Slurm's last but one: mpirun within its jobs sets its own too. Its number of tasks of a step is there only for what
     * srun started, unlike SLURM_NTASKS.
     */
    private static final List<Names> STARTERS = List.of(
            new Names("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"), // Open MPI
            new Names("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"), // MPICH and its relatives
            new Names("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"), // srun, also with PMIx
            new Names("RANK", "WORLD_SIZE", "LOCAL_RANK")); // torchrun

    /**
     * From the variables that Open MPI, MPICH, Slurm or torchrun sets.
     *
     * @throws IllegalArgumentException if some are missing, or they contradict each other
     */
    public static Rank of(Map<String, String> environment) {
        Optional<Names> starter = STARTERS.stream()
                .filter(names -> environment.containsKey(names.number()) && environment.containsKey(names.size()))
                .findFirst();
        if (starter.isEmpty()) {
            return ALONE;
        }
        Names names = starter.get();
        int size = number(environment, names.size());
        int number = number(environment, names.number());
        int local = size == 1 && !environment.containsKey(names.local()) ? 0 : number(environment, names.local());
        if (number >= size || local > number) {
            throw new IllegalArgumentException(String.join(
                            ", ",
                            names.all()
                                    .map(name -> name + "=" + environment.get(name))
                                    .toList())
                    + " contradict each other: both ranks count from 0; start with mpirun, srun or torchrun.");
        }
        return new Rank(number, size, local);
    }

    private static int number(Map<String, String> environment, String name) {
        String value = environment.get(name);
        if (value == null || !value.matches("\\d{1,9}")) {
            throw new IllegalArgumentException(
                    "The environment variable " + name + " is "
                            + (value == null ? "missing" : "'" + value + "' instead of a number")
                            + ", though others say that this process is one of several; start it with mpirun, srun or torchrun.");
        }
        return Integer.parseInt(value);
    }

    /** Whether it is the one that writes the run folder and speaks to the user. */
    public boolean isFirst() {
        return number == 0;
    }
}
