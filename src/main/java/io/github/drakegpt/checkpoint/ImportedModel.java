package io.github.drakegpt.checkpoint;

import io.github.drakegpt.data.GitLfs;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.tensor.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One of the six models in a file from elsewhere, under the names of DrakeGPT's state_dict: which one it is, and its sizes,
 * follow from the tensors' names and shapes.
 */
public final class ImportedModel {
    private static final int BEGINNING_BYTES = 64; // tell which format it is
    private static final String TOKENS = "token_embedding_table.weight";
    private static final String POSITIONS = "position_embedding_table.weight";
    private static final String FIRST_KEY = "sa_head.heads.0.key.weight";
    private static final String SINGLE_KEY = "sa_head.key.weight";
    private static final Pattern HEAD_KEY = Pattern.compile("(?:blocks\\.0\\.)?sa_head\\.heads\\.\\d+\\.key\\.weight");
    private static final Pattern BLOCK = Pattern.compile("blocks\\.(\\d+)\\..*");
    private static final String MASK = ".tril";
    /** Of the models of GPT-2's kind, nanoGPT's among them. */
    private static final String GPT2 = "transformer.";

    private final Path file;
    private final Map<String, FileTensor> tensors;
    private final String name;
    private final Map<String, Integer> sizes = new LinkedHashMap<>();
    private final Set<String> dropped = new TreeSet<>();

    private ImportedModel(Path file, Map<String, FileTensor> tensors) throws IOException {
        this.file = file;
        this.tensors = tensors;
        this.name = nameOf(tensors.keySet());
        measure();
    }

    /**
     * Reads a file of {@code torch.save}, or a safetensors file; which, its first bytes tell.
     *
     * @throws CorruptFileException if it does not follow its format
     * @throws ForeignFileException if it holds none of the six models
     * @throws IOException if it is missing, or only a pointer to it is here
     */
    public static ImportedModel read(Path file) throws IOException {
        if (Files.isDirectory(file)) {
            throw new ForeignFileException(file, "is a folder", TorchFile.GIVE_ANOTHER);
        }
        byte[] beginning;
        try (InputStream in = Files.newInputStream(file)) {
            beginning = in.readNBytes(BEGINNING_BYTES);
        }
        if (GitLfs.isPointer(beginning)) {
            throw new IOException(GitLfs.message(file.toString()));
        }
        if (Safetensors.is(beginning)) { // first: its length may begin as a pickle does
            return new ImportedModel(file, Safetensors.read(file).tensors());
        }
        if (TorchFile.is(beginning)) {
            return new ImportedModel(file, TorchFile.read(file, beginning));
        }
        throw new ForeignFileException(
                file, "was written neither by torch.save nor as safetensors", TorchFile.GIVE_ANOTHER);
    }

    /** One of {@link Models#NAMES}. */
    public String name() {
        return name;
    }

    /** V, of the vocabulary that it was trained with. */
    public int vocabSize() {
        return tensors.get(TOKENS).shape().dim(0);
    }

    /**
     * The sizes that the file tells, under the names of the settings, such as {@code embedding_dim}. That of a
     * {@link Models#BIGRAM} has none.
     */
    public Map<String, Integer> sizes() {
        return sizes;
    }

    /** Tensors that {@link #weights} left out although they were trained: those of a final norm that is not applied. */
    public Set<String> dropped() {
        return dropped;
    }

    // ---------------------------------------------------------------------------------------------- which model

    private String nameOf(Set<String> names) throws ForeignFileException {
        if (names.stream().anyMatch(tensor -> tensor.startsWith(GPT2))) {
            throw new ForeignFileException(
                    file,
                    "holds a model of GPT-2's kind, such as nanoGPT's, which computes other things than any of the six",
                    "train one of those on the same text");
        }
        if (!names.contains(TOKENS)) {
            throw new ForeignFileException(
                    file,
                    "has no " + TOKENS + ", so it holds none of the six models",
                    "give the state_dict of one of them, under DrakeGPT's names");
        }
        if (!names.contains(POSITIONS)) {
            return Models.BIGRAM;
        }
        if (names.contains(SINGLE_KEY)) {
            return Models.SINGLE_HEAD;
        }
        if (names.contains("blocks.0.ln1.weight")) {
            return Models.TRANSFORMER;
        }
        if (names.contains("blocks.0.sa_head.proj.weight")) {
            return Models.RESIDUAL_BLOCKS;
        }
        return names.contains("blocks.0." + FIRST_KEY) ? Models.BLOCKS : Models.MULTI_HEAD;
    }

    private void measure() throws CorruptFileException {
        matrix(TOKENS);
        if (name.equals(Models.BIGRAM)) {
            return;
        }
        int width = matrix(TOKENS).columns();
        sizes.put("context_length", matrix(POSITIONS).dim(0));
        sizes.put("embedding_dim", width);
        if (name.equals(Models.SINGLE_HEAD)) {
            sizes.put("head_size", matrix(SINGLE_KEY).dim(0));
            return;
        }
        int headSize = matrix((name.equals(Models.MULTI_HEAD) ? "" : "blocks.0.") + FIRST_KEY)
                .dim(0);
        int heads = (int) tensors.keySet().stream()
                .filter(tensor -> HEAD_KEY.matcher(tensor).matches())
                .count();
        sizes.put("num_heads", heads);
        if (name.equals(Models.MULTI_HEAD)) {
            sizes.put("head_size", (int) Math.min((long) headSize * heads, Integer.MAX_VALUE));
            return;
        }
        if ((long) headSize * heads != width) {
            throw corrupt(
                    heads + " heads of " + headSize + " channels do not make up the " + width + " of its embeddings");
        }
        sizes.put("num_layers", (int) tensors.keySet().stream()
                .map(BLOCK::matcher)
                .filter(Matcher::matches)
                .map(block -> block.group(1))
                .distinct()
                .count());
    }

    private Shape matrix(String tensor) throws CorruptFileException {
        FileTensor found = tensors.get(tensor);
        if (found == null || found.shape().rank() != 2) {
            throw corrupt(
                    found == null
                            ? "it has no tensor " + tensor
                            : "tensor " + tensor + " has the shape " + found.shape() + " where a matrix is needed");
        }
        if (found.shape().dim(0) < 1 || found.shape().columns() < 1) {
            throw corrupt("tensor " + tensor + " has the impossible shape " + found.shape());
        }
        return found.shape();
    }

    // ---------------------------------------------------------------------------------------------- its weights

    /**
     * The weights, laid out as {@link LanguageModel#parametersOf}.
     *
     * @param config the model with this file's name and sizes
     * @param vocabulary the file's characters in the order of their ids there, of {@link #vocabSize()}
     * @throws CorruptFileException if a tensor is missing, or has another shape or impossible values
     * @throws ForeignFileException if there is a tensor that the model does not have
     */
    public float[] weights(ModelConfig config, ImportedVocabulary vocabulary) throws IOException {
        Parameters parameters = LanguageModel.parametersOf(config);
        Set<String> unknown = new HashSet<>(tensors.keySet());
        for (Parameters.Entry entry : parameters.entries()) { // before anything is allocated
            requireShape(entry.name(), entry.shape());
            unknown.remove(entry.name());
        }
        for (Parameters.Constant constant : parameters.constants()) {
            if (unknown.remove(constant.name())) {
                check(constant);
            }
        }
        if (!unknown.isEmpty()) {
            throw new ForeignFileException(
                    file,
                    "has a tensor that no " + name + " of its sizes has, "
                            + unknown.stream().sorted().findFirst().get(),
                    "give the state_dict of one of the six models, under DrakeGPT's names");
        }
        float[] flat = new float[Math.toIntExact(parameters.size())];
        for (Parameters.Entry entry : parameters.entries()) {
            float[] values = tensors.get(entry.name()).values().read();
            if (entry.name().equals(TOKENS) || entry.name().startsWith("lm_head.")) {
                values = vocabulary.sortRows(values);
            }
            if (name.equals(Models.BIGRAM)) {
                values = vocabulary.sortColumns(values);
            }
            System.arraycopy(values, 0, flat, Math.toIntExact(entry.offset()), values.length);
            if (!StateDict.isFinite(values, 0, values.length)) {
                throw corrupt(StateDict.notFinite(entry.name()));
            }
        }
        return flat;
    }

    private void requireShape(String tensor, Shape shape) throws CorruptFileException {
        FileTensor found = tensors.get(tensor);
        if (found == null) {
            throw corrupt("it has no tensor " + tensor + ", which a " + name + " of its other tensors needs");
        }
        if (!found.shape().equals(shape)) {
            throw corrupt(
                    "tensor " + tensor + " has the shape " + found.shape() + " where its other tensors need " + shape);
        }
    }

    /** Masks must be causal; a norm that is not applied may be anything. */
    private void check(Parameters.Constant constant) throws IOException {
        requireShape(constant.name(), constant.shape());
        boolean same = Arrays.equals(
                tensors.get(constant.name()).values().read(), constant.values().get());
        if (!same && constant.name().endsWith(MASK)) {
            throw new ForeignFileException(
                    file,
                    "has a mask that is not the causal one, " + constant.name(),
                    "train a model whose characters see those before them");
        }
        if (!same) {
            dropped.add(constant.name());
        }
    }

    private CorruptFileException corrupt(String what) {
        return new CorruptFileException(file, what, null);
    }
}
