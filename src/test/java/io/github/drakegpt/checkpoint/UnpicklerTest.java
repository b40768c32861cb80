package io.github.drakegpt.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import io.github.drakegpt.checkpoint.Unpickler.Tuple;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class UnpicklerTest {
    private static final Path FILE = Path.of("x.pkl");

    /** Allows one function, that answers its arguments. */
    private static final Unpickler.Names NAMES = new Unpickler.Names() {
        @Override
        public Object global(String name) throws IOException {
            if (name.equals("some.function")) {
                return (Unpickler.Function) arguments -> "called with " + arguments;
            }
            throw refused("refers to " + name);
        }

        @Override
        public Object persistent(Object id) {
            return "object " + id;
        }

        @Override
        public ForeignFileException refused(String why) {
            return new ForeignFileException(FILE, why, "leave that out");
        }
    };

    private static Object read(byte[] pickle) throws IOException {
        return Unpickler.read(FILE, ByteBuffer.wrap(pickle), NAMES);
    }

    private static PickleBytes pickle() {
        return new PickleBytes();
    }

    // ---------------------------------------------------------------------------------------------- plain data

    @Test
    void readsNumbersAndTexts() throws IOException {
        byte[] pickle = pickle().ops("(N")
                .op(0x88, 0x89, 'K', 255, 'M', 0xFF, 0xFF)
                .integer(-2)
                .op(0x8a, 0)
                .op(0x8a, 1, 0xFF)
                .op(0x8a, 10)
                .raw(8, 0x6ca8_6a20_f946_9cfcL)
                .raw(2, 0x1950)
                .op('G', 0x3F, 0xF8, 0, 0, 0, 0, 0, 0)
                .text("\u00fc\uD83D\uDE00")
                .op(0x8c, 1, 'a')
                .op('U', 1, 0xFC)
                .ops("t")
                .end();

        assertThat(((Tuple) read(pickle)).items())
                .containsExactly(
                        null,
                        true,
                        false,
                        255L,
                        65535L,
                        -2L,
                        0L,
                        -1L,
                        new BigInteger("19506ca86a20f9469cfc", 16),
                        1.5,
                        "\u00fc\uD83D\uDE00",
                        "a",
                        "\u00fc");
    }

    @Test
    void readsContainersAndWhatTheyShare() throws IOException {
        byte[] pickle = pickle().ops("}q\u0000(")
                .text("list")
                .ops("]q\u0001(")
                .op('K', 1, 'K', 2)
                .ops("e")
                .text("same")
                .ops("h\u0001")
                .text("pair")
                .op('K', 3, 'K', 4, 0x86)
                .text("nothing")
                .ops(")u")
                .op('K', 7)
                .ops("Ns")
                .end();

        Map<?, ?> read = (Map<?, ?>) read(pickle);

        assertThat(read.get("list")).isEqualTo(List.of(1L, 2L));
        assertThat(read.get("same")).isSameAs(read.get("list"));
        assertThat(read.get("pair")).isEqualTo(new Tuple(List.of(3L, 4L)));
        assertThat(read.get("nothing")).isEqualTo(new Tuple(List.of()));
        assertThat(read.containsKey(7L)).isTrue();
        assertThat(read.get(7L)).isNull();
    }

    /** Protocol 4's frames, memo and names on the stack. */
    @Test
    void readsProtocolFour() throws IOException {
        byte[] pickle = pickle().op(0x80, 4, 0x95)
                .raw(8, 20)
                .op(0x8c, 4)
                .ops("some")
                .op(0x8c, 8)
                .ops("function")
                .op(0x93, 0x94)
                .op('K', 5, 0x85)
                .ops("R")
                .op(0x94)
                .ops("h\u0001")
                .op(0x86)
                .end();
        assertThat(read(pickle)).isEqualTo(new Tuple(List.of("called with [5]", "called with [5]")));
    }

    @Test
    void callsOnlyWhatIsAllowed() throws IOException {
        assertThat(read(pickle().global("some", "function")
                        .op('K', 1, 0x85)
                        .ops("R")
                        .end()))
                .isEqualTo("called with [1]");
        assertThat(read(pickle().text("id").ops("Q").end())).isEqualTo("object id");
    }

    @Test
    void aContainerMayContainItself() throws IOException {
        List<?> list = (List<?>) read(pickle().ops("]q\u0000h\u0000a").end());
        assertThat(list.get(0) == list).isTrue();
        Map<?, ?> map = (Map<?, ?>)
                read(pickle().ops("}q\u0000").text("me").ops("h\u0000s").end());
        assertThat(map.get("me") == map).isTrue();
    }

    // ---------------------------------------------------------------------------------------------- refusals

    @ParameterizedTest
    @CsvSource({
        "posix, system",
        "os, system",
        "builtins, eval",
        "builtins, exec",
        "subprocess, Popen",
        "torch, load",
        "__main__, Model",
        "collections, defaultdict"
    })
    void refusesEveryOtherNameBeforeItIsUsed(String module, String name) {
        byte[] pickle = pickle().global(module, name)
                .text("touch /tmp/x")
                .op(0x85)
                .ops("R")
                .end();
        assertThatThrownBy(() -> read(pickle))
                .isInstanceOf(ForeignFileException.class)
                .hasMessage("x.pkl refers to " + module + "." + name + "; leave that out.");
    }

    @ParameterizedTest
    @ValueSource(
            chars = {
                '1', '2', 'F', 'I', 'L', 'P', 'S', 'V', 'd', 'g', 'i', 'l', 'o', 'p', 'B', 'C', 0x81, 0x82, 0x83, 0x84,
                0x8b, 0x8e, 0x8f, 0x90, 0x91, 0x92, 0x96, 0x97, 0x98
            })
    void refusesOtherInstructionsByName(char code) {
        assertThatThrownBy(() -> read(pickle().op(code).end()))
                .isInstanceOf(ForeignFileException.class)
                .hasMessage("x.pkl uses the pickle instruction " + PickleOpcode.of((byte) code) + "; leave that out.");
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 6, 255})
    void refusesOtherProtocols(int protocol) {
        assertThatThrownBy(() -> read(pickle().op(0x80, protocol).end()))
                .hasMessage("x.pkl uses the pickle protocol " + protocol + "; leave that out.");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "}q\u0000h\u0000Ns", // a dictionary as its own key
                "}]Ns",
                "})Ns",
                "}NNs"
            })
    void refusesKeysThatAreNoTextOrNumber(String letters) {
        assertThatThrownBy(() -> read(pickle().ops(letters).end()))
                .hasMessageContaining("a key that is neither a text nor a number");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                ".",
                "t.",
                "u.",
                "e.",
                "a.",
                "s.",
                "R.",
                "b.",
                "Q.",
                "q\u0000.",
                "h\u0000.",
                "(.",
                "N(t(s.",
                "(NNs.",
                "NNR.",
                "NN\u0093.",
                "NNa.",
                "N(NNu.",
                "}(Nu.",
                "N",
                "",
                "\u0000.",
                "cos",
                "cos\nsystem",
                "X\u0010\u0000\u0000\u0000.",
                "X\u00ff\u00ff\u00ff\u00ff.",
                "X\u0001\u0000\u0000\u0000\u00ff.",
                "\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f.",
                "T\u00ff\u00ff\u00ff\u00ff.",
                "\u0095\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff.",
                "\u008a\u00ff."
            })
    void whatFollowsNoRuleIsDamaged(String letters) {
        ByteBuffer pickle = ByteBuffer.wrap(pickle().ops(letters).end());
        pickle.limit(pickle.limit() - 1);
        assertThatThrownBy(() -> Unpickler.read(FILE, pickle, NAMES))
                .isInstanceOf(CorruptFileException.class)
                .hasMessageStartingWith("x.pkl is damaged: its pickle ");
    }

    // ---------------------------------------------------------------------------------------------- bombs

    @ParameterizedTest
    @ValueSource(
            strings = {"(", "]", "}", ")", "(]}", "]q\u0000", "]\u0094", "N\u0094", "]r\u0001\u0002\u0003\u0004h\u0000"
            })
    @Timeout(60)
    void instructionsAreLimited(String repeated) {
        PickleBytes pickle = pickle().ops("Nq\u0000");
        byte[] bytes = pickle.ops(repeated.repeat(3_000_000)).end();
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long before = threads.getCurrentThreadAllocatedBytes();
        assertThatThrownBy(() -> read(bytes)).hasMessageContaining("more than 2000000 pickle instructions");
        assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(600L << 20);
    }

    /** Ten lists, each with the one before ten times: they are shared, and nobody counts their items. */
    @Test
    @Timeout(60)
    void sharedListsAreNotUnfolded() throws IOException {
        PickleBytes pickle = pickle().ops("]q\u0000");
        for (int level = 0; level < 200; level++) {
            pickle.ops("](" + ("h" + (char) level).repeat(10) + "e").op('q', level + 1);
        }
        assertThat((List<?>) read(pickle.end())).hasSize(10);
    }
}
