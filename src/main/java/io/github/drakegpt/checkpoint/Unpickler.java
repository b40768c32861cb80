package io.github.drakegpt.checkpoint;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads the part of Python's pickle format (protocols 2 to 5) that plain data and PyTorch's state_dicts need: None, truth
 * values, numbers, texts, tuples, lists, dictionaries, and the few names that {@link Names} allows. Nothing that a file
 * names is ever looked up or run elsewhere, and every instruction or name beyond these is refused by its name.
 *
 * <p>Values become {@code null}, {@link Boolean}, {@link Long}, {@link BigInteger}, {@link Double}, {@link String},
 * {@link Tuple}, {@link List} and {@link Map}. A list or dictionary may contain itself, so none of them is ever compared,
 * hashed or printed here.
 *
 * <p>Memory grows with the instructions, of which there is a limit, and never with a length that a file only claims.
 */
final class Unpickler {
    /** A state_dict takes about 30 for each tensor, its optimizer's twice as many. */
    private static final int MAX_INSTRUCTIONS = 2_000_000;

    private static final int OLDEST_PROTOCOL = 2;
    private static final int NEWEST_PROTOCOL = 5;

    /** An immutable sequence; its items may be null. */
    record Tuple(List<Object> items) {}

    /** Stands for a Python function. */
    interface Function {
        /** Python's value of a call of it. */
        Object call(List<Object> arguments) throws IOException;
    }

    /** What a pickle may refer to, except plain data. */
    interface Names {
        /** What a name stands for, such as {@code collections.OrderedDict}: any value, or a {@link Function}. */
        Object global(String name) throws IOException;

        /** What a persistent id stands for. */
        Object persistent(Object id) throws IOException;

        /** The exception for what is refused; {@code why} continues the file's name. */
        ForeignFileException refused(String why);
    }

    private final Path file;
    private final ByteBuffer in;
    private final Names names;
    private final List<Object> stack = new ArrayList<>();
    private final Deque<Integer> marks = new ArrayDeque<>();
    private final Map<Integer, Object> memo = new HashMap<>();

    private Unpickler(Path file, ByteBuffer in, Names names) {
        this.file = file;
        this.in = in.order(ByteOrder.LITTLE_ENDIAN);
        this.names = names;
    }

    /**
     * Reads one pickle, and leaves the buffer behind it.
     *
     * @param file its name in errors
     * @throws CorruptFileException if it does not follow the format
     * @throws ForeignFileException if it has what is not read here
     */
    static Object read(Path file, ByteBuffer in, Names names) throws IOException {
        Unpickler unpickler = new Unpickler(file, in, names);
        try {
            return unpickler.run();
        } catch (BufferUnderflowException e) {
            throw unpickler.corrupt("ends early");
        }
    }

    private Object run() throws IOException {
        for (int count = 0; count < MAX_INSTRUCTIONS; count++) {
            byte code = in.get();
            PickleOpcode opcode = PickleOpcode.of(code);
            if (opcode == null) {
                throw corrupt("has the unknown instruction " + (code & 0xFF));
            }
            if (opcode == PickleOpcode.STOP) {
                return pop();
            }
            follow(opcode);
        }
        throw names.refused("has more than " + MAX_INSTRUCTIONS + " pickle instructions");
    }

    private void follow(PickleOpcode opcode) throws IOException {
        switch (opcode) {
            case PROTO -> requireProtocol(in.get() & 0xFF);
            case FRAME -> length(in.getLong()); // announces bytes that are read one instruction at a time anyway
            case MARK -> marks.push(stack.size());
            case NONE -> stack.add(null);
            case NEWTRUE -> stack.add(true);
            case NEWFALSE -> stack.add(false);
            case BININT -> stack.add((long) in.getInt());
            case BININT1 -> stack.add(in.get() & 0xFFL);
            case BININT2 -> stack.add((long) in.getChar());
            case LONG1 -> stack.add(integer(in.get() & 0xFF));
            case BINFLOAT -> stack.add(Double.longBitsToDouble(Long.reverseBytes(in.getLong())));
            case SHORT_BINUNICODE -> stack.add(text(in.get() & 0xFF, StandardCharsets.UTF_8));
            case BINUNICODE -> stack.add(text(in.getInt() & 0xFFFFFFFFL, StandardCharsets.UTF_8));
            case BINUNICODE8 -> stack.add(text(in.getLong(), StandardCharsets.UTF_8));
            case SHORT_BINSTRING -> stack.add(text(in.get() & 0xFF, StandardCharsets.ISO_8859_1)); // Python 2's
            case BINSTRING -> stack.add(text(in.getInt(), StandardCharsets.ISO_8859_1));
            case EMPTY_TUPLE -> stack.add(new Tuple(List.of()));
            case TUPLE1 -> stack.add(new Tuple(top(1)));
            case TUPLE2 -> stack.add(new Tuple(top(2)));
            case TUPLE3 -> stack.add(new Tuple(top(3)));
            case TUPLE -> stack.add(new Tuple(sinceMark()));
            case EMPTY_LIST -> stack.add(new ArrayList<>(0));
            case APPEND -> append(top(1));
            case APPENDS -> append(sinceMark());
            case EMPTY_DICT -> stack.add(new LinkedHashMap<>());
            case SETITEM -> set(top(2));
            case SETITEMS -> set(sinceMark());
            case BINPUT -> memo.put(in.get() & 0xFF, peek());
            case LONG_BINPUT -> memo.put(in.getInt(), peek());
            case MEMOIZE -> memo.put(memo.size(), peek());
            case BINGET -> stack.add(remembered(in.get() & 0xFF));
            case LONG_BINGET -> stack.add(remembered(in.getInt()));
            case GLOBAL -> stack.add(names.global(line() + "." + line()));
            case STACK_GLOBAL -> stack.add(global(top(2)));
            case BINPERSID -> stack.add(names.persistent(pop()));
            case REDUCE -> stack.add(call(top(2)));
            case BUILD -> setAttributes(top(2));
            default -> throw names.refused("uses the pickle instruction " + opcode);
        }
    }

    private void requireProtocol(int protocol) throws IOException {
        if (protocol < OLDEST_PROTOCOL || protocol > NEWEST_PROTOCOL) {
            throw names.refused("uses the pickle protocol " + protocol);
        }
    }

    // ---------------------------------------------------------------------------------------------- the stack

    private Object pop() throws CorruptFileException {
        requireDepth(1);
        return stack.remove(stack.size() - 1);
    }

    private Object peek() throws CorruptFileException {
        requireDepth(1);
        return stack.get(stack.size() - 1);
    }

    /** Refuses to go below the last mark, as Python does. */
    private void requireDepth(int count) throws CorruptFileException {
        int bottom = marks.isEmpty() ? 0 : marks.peek();
        if (stack.size() - bottom < count) {
            throw corrupt("takes a value that is not there");
        }
    }

    private List<Object> top(int count) throws CorruptFileException {
        requireDepth(count);
        return take(stack.size() - count);
    }

    private List<Object> sinceMark() throws CorruptFileException {
        if (marks.isEmpty()) {
            throw corrupt("takes a mark that is not there");
        }
        return take(marks.pop());
    }

    private List<Object> take(int from) {
        List<Object> end = stack.subList(from, stack.size());
        List<Object> taken = Collections.unmodifiableList(new ArrayList<>(end));
        end.clear();
        return taken;
    }

    private Object remembered(int key) throws CorruptFileException {
        if (!memo.containsKey(key)) {
            throw corrupt("recalls a value that it has not kept");
        }
        return memo.get(key);
    }

    // ---------------------------------------------------------------------------------------------- values

    /** A length that the rest of the pickle has room for. */
    private int length(long claimed) throws CorruptFileException {
        if (claimed < 0 || claimed > in.remaining()) {
            throw corrupt("ends early");
        }
        return (int) claimed;
    }

    private byte[] bytes(long count) throws CorruptFileException {
        byte[] bytes = new byte[length(count)];
        in.get(bytes);
        return bytes;
    }

    private String text(long count, Charset charset) throws CorruptFileException {
        try {
            return charset.newDecoder().decode(ByteBuffer.wrap(bytes(count))).toString();
        } catch (CharacterCodingException e) {
            throw corrupt("has a text that is not UTF-8");
        }
    }

    /** The next line, without its end. */
    private String line() throws CorruptFileException {
        int start = in.position();
        int length = 0;
        while (in.get() != '\n') {
            length++;
        }
        in.position(start);
        String line = text(length, StandardCharsets.UTF_8);
        in.get();
        return line;
    }

    private Object integer(int length) throws CorruptFileException {
        byte[] bytes = bytes(length);
        if (bytes.length == 0) {
            return 0L;
        }
        for (int i = 0; i < bytes.length / 2; i++) { // to big endian
            byte swapped = bytes[i];
            bytes[i] = bytes[bytes.length - 1 - i];
            bytes[bytes.length - 1 - i] = swapped;
        }
        BigInteger value = new BigInteger(bytes);
        return value.bitLength() < Long.SIZE ? (Object) value.longValue() : value;
    }

    private void append(List<Object> items) throws CorruptFileException {
        if (!(peek() instanceof ArrayList<?>)) {
            throw corrupt("appends to something that is no list");
        }
        @SuppressWarnings("unchecked") // lists are made here only
        List<Object> list = (List<Object>) peek();
        list.addAll(items);
    }

    private void set(List<Object> keysAndValues) throws IOException {
        if (!(peek() instanceof Map<?, ?>) || keysAndValues.size() % 2 != 0) {
            throw corrupt("sets items of something that is no dictionary");
        }
        @SuppressWarnings("unchecked") // so are dictionaries, but for those of names
        Map<Object, Object> dictionary = (Map<Object, Object>) peek();
        for (int i = 0; i < keysAndValues.size(); i += 2) {
            dictionary.put(key(keysAndValues.get(i)), keysAndValues.get(i + 1));
        }
    }

    /** Refuses keys whose hash would depend on what they contain. */
    private Object key(Object key) throws IOException {
        if (key instanceof String || key instanceof Long || key instanceof Double || key instanceof Boolean) {
            return key;
        }
        throw names.refused("has a dictionary with a key that is neither a text nor a number");
    }

    // ---------------------------------------------------------------------------------------------- names

    private Object global(List<Object> moduleAndName) throws IOException {
        if (moduleAndName.get(0) instanceof String module && moduleAndName.get(1) instanceof String name) {
            return names.global(module + "." + name);
        }
        throw corrupt("has a name that is no text");
    }

    private Object call(List<Object> functionAndArguments) throws IOException {
        if (functionAndArguments.get(0) instanceof Function function
                && functionAndArguments.get(1) instanceof Tuple arguments) {
            return function.call(arguments.items());
        }
        throw corrupt("calls something that is no function");
    }

    /** The attributes of a dictionary, such as a state_dict's {@code _metadata}, are dropped; nothing else may have any. */
    private void setAttributes(List<Object> objectAndState) throws IOException {
        if (!(objectAndState.get(0) instanceof Map<?, ?>)) {
            throw names.refused("sets attributes of something that is no dictionary");
        }
        stack.add(objectAndState.get(0));
    }

    private CorruptFileException corrupt(String what) {
        return new CorruptFileException(file, "its pickle " + what + " at byte " + in.position(), null);
    }
}
