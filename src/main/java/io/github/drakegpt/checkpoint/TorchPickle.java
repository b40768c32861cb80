package io.github.drakegpt.checkpoint;

import io.github.drakegpt.checkpoint.Unpickler.Function;
import io.github.drakegpt.checkpoint.Unpickler.Tuple;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The names that a state_dict's pickle refers to: ordered dictionaries, tensors, and classes of storages. Its persistent ids
 * are storages.
 */
final class TorchPickle implements Unpickler.Names {
    static final String SAVE_STATE_DICT = "save the model anew with torch.save(model.state_dict(), FILE)";
    private static final String STORAGES = "torch.";

    private final Path file;
    private final TorchStorage.Source source;
    private final Map<String, TorchStorage> storages = new HashMap<>();

    /** @param source of the storages' bytes */
    TorchPickle(Path file, TorchStorage.Source source) {
        this.file = file;
        this.source = source;
    }

    /** The storage of this key, if one was referred to. */
    Optional<TorchStorage> storage(Object key) {
        return Optional.ofNullable(key instanceof String text ? storages.get(text) : null);
    }

    @Override
    public ForeignFileException refused(String why) {
        return new ForeignFileException(file, why + ", which no state_dict needs", SAVE_STATE_DICT);
    }

    @Override
    public Object global(String name) throws IOException {
        switch (name) {
            case "collections.OrderedDict":
                return (Function) this::orderedDict;
            case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
                return (Function) this::tensor;
            case "torch._utils._rebuild_parameter":
                return (Function) this::parameter;
            default:
                if (name.startsWith(STORAGES)) {
                    var type = ElementType.ofStorage(name.substring(STORAGES.length()));
                    if (type.isPresent()) {
                        return type.get();
                    }
                }
                throw refused("refers to Python's " + name);
        }
    }

    /** OrderedDict(), or OrderedDict([[key, value], ...]) as Python 2 writes it. */
    private Object orderedDict(List<Object> arguments) throws IOException {
        Map<Object, Object> dictionary = new LinkedHashMap<>();
        if (arguments.isEmpty()) {
            return dictionary;
        }
        if (arguments.size() != 1 || !(arguments.get(0) instanceof List<?> pairs)) {
            throw corrupt("a dictionary is made of something else than pairs");
        }
        for (Object pair : pairs) {
            if (!(pair instanceof List<?> items) || items.size() != 2 || !(items.get(0) instanceof String key)) {
                throw corrupt("a dictionary is made of something else than pairs");
            }
            dictionary.put(key, items.get(1));
        }
        return dictionary;
    }

    /** (storage, offset, sizes, strides, requires_grad, hooks): what follows the strides matters to training only. */
    private Object tensor(List<Object> arguments) throws IOException {
        if (arguments.size() < 4
                || !(arguments.get(0) instanceof TorchStorage storage)
                || !(arguments.get(1) instanceof Long offset)
                || !(arguments.get(2) instanceof Tuple sizes)
                || !(arguments.get(3) instanceof Tuple strides)) {
            throw corrupt("a tensor is made of something else than a storage, an offset, sizes and strides");
        }
        long[] size = longs(sizes);
        long[] stride = longs(strides);
        String problem = TorchTensor.problem(storage, offset, size, stride);
        if (problem != null) {
            throw corrupt("a tensor is not possible, since " + problem);
        }
        return new TorchTensor(storage, offset.intValue(), ints(size), ints(stride));
    }

    private Object parameter(List<Object> arguments) throws IOException {
        if (arguments.isEmpty() || !(arguments.get(0) instanceof TorchTensor tensor)) {
            throw corrupt("a parameter is made of something else than a tensor");
        }
        return tensor;
    }

    private long[] longs(Tuple tuple) throws IOException {
        long[] values = new long[tuple.items().size()];
        for (int i = 0; i < values.length; i++) {
            if (!(tuple.items().get(i) instanceof Long value)) {
                throw corrupt("a size or a stride is no whole number");
            }
            values[i] = value;
        }
        return values;
    }

    private static int[] ints(long[] values) {
        int[] ints = new int[values.length];
        for (int i = 0; i < ints.length; i++) {
            ints[i] = (int) values[i];
        }
        return ints;
    }

    /** ("storage", class, key, device, elements), and in old files the part of it that is meant, or None. */
    @Override
    public Object persistent(Object id) throws IOException {
        if (!(id instanceof Tuple tuple)
                || tuple.items().isEmpty()
                || !(tuple.items().get(0) instanceof String kind)) {
            throw corrupt("it refers to something that is no storage");
        }
        List<Object> items = tuple.items();
        if (kind.equals("module")) {
            throw refused("holds a whole module");
        }
        if (!kind.equals("storage")
                || items.size() < 5
                || !(items.get(1) instanceof ElementType type)
                || !(items.get(2) instanceof String key)
                || !(items.get(4) instanceof Long elements)) {
            throw corrupt("it refers to something that is no storage");
        }
        if (items.size() > 5 && items.get(5) != null) {
            throw refused("has views of storages as PyTorch wrote them before 0.4");
        }
        if (elements < 0 || elements > Integer.MAX_VALUE / type.bytes()) {
            throw corrupt("storage " + key + " cannot have " + elements + " elements");
        }
        TorchStorage known = storages.get(key);
        if (known == null) {
            known = new TorchStorage(key, type, elements, source);
            storages.put(key, known);
        } else if (known.type() != type || known.elements() != elements) {
            throw corrupt("storage " + key + " has two types or lengths");
        }
        return known;
    }

    private CorruptFileException corrupt(String what) {
        return new CorruptFileException(file, what, null);
    }
}
