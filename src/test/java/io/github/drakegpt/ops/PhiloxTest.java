package io.github.drakegpt.ops;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.ReferenceOperations;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PhiloxTest {
    /** The vectors that the authors publish with Random123, kat_vectors: philox4x32, 10 rounds. */
    @Test
    void knownAnswers() {
        assertThat(block(0, 0, 0, 0)).isEqualTo(words("6627e8d5 e169c58d bc57ac4c 9b00dbd8"));
        assertThat(block(-1, 0xFFFF, -1, (1L << 48) - 1)).isEqualTo(words("408f276d 41c83b0e a20bc7c6 6d5451fd"));
        // counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0, the first word the lowest
        assertThat(block(0x299f31d0_a4093822L, 0x85a3, 0x03707344_13198a2eL, 0x08d3_243f6a88L))
                .isEqualTo(words("d16cfe09 94fdcceb 5001e420 24126ea1"));
    }

    @Test
    void theReferenceGivesTheKnownAnswers() {
        assertThat(ReferenceOperations.philox(new int[4], new int[2]))
                .isEqualTo(words("6627e8d5 e169c58d bc57ac4c 9b00dbd8"));
        assertThat(ReferenceOperations.philox(new int[] {-1, -1, -1, -1}, new int[] {-1, -1}))
                .isEqualTo(words("408f276d 41c83b0e a20bc7c6 6d5451fd"));
        assertThat(ReferenceOperations.philox(words("243f6a88 85a308d3 13198a2e 03707344"), words("a4093822 299f31d0")))
                .isEqualTo(words("d16cfe09 94fdcceb 5001e420 24126ea1"));
    }

    @Test
    void fillEqualsTheReference() {
        Random random = new Random(1);
        for (int run = 0; run < 500; run++) {
            long seed = random.nextLong();
            int purpose = random.nextInt(1 << 16);
            long step = run % 2 == 0 ? random.nextLong() : random.nextInt(100);
            long firstBlock = random.nextLong() >>> 17 + random.nextInt(40);
            if (run % 10 == 0) {
                firstBlock = (1L << 32) * (1 + random.nextInt(100)) - 3; // the index carries into its upper half
            }
            int blocks = 1 + random.nextInt(40);
            int[] words = new int[4 * blocks + 1];
            words[4 * blocks] = 99;
            Philox.fill(seed, purpose, step, firstBlock, blocks, new Philox.Lanes(), words);
            for (int i = 0; i < 4 * blocks; i++) {
                long index = 4 * firstBlock + i;
                int expected = ReferenceOperations.philoxWord(seed, purpose, step, index);
                assertThat(words[i]).isEqualTo(expected);
                assertThat(Philox.word(seed, purpose, step, index)).isEqualTo(expected);
            }
            assertThat(words[4 * blocks]).isEqualTo(99);
        }
    }

    @Test
    void aChangeOfAnyArgumentChangesTheNumbers() {
        Set<Integer> words = new HashSet<>();
        int count = 0;
        for (long seed : new long[] {0, 1, 1L << 32}) {
            for (int purpose : new int[] {0, 1, 0x8000}) {
                for (long step : new long[] {0, 1, 1L << 32}) {
                    for (long index : new long[] {0, 1, 4, 1L << 34, 1L << 47}) {
                        words.add(Philox.word(seed, purpose, step, index));
                        count++;
                    }
                }
            }
        }
        assertThat(words).hasSize(count);
    }

    @Test
    void uniformNumbersLieFromZeroToBelowOne() {
        assertThat(Philox.uniform(0)).isEqualTo(0f);
        assertThat(Philox.uniform(255)).isEqualTo(0f);
        assertThat(Philox.uniform(256)).isEqualTo(0x1p-24f);
        assertThat(Philox.uniform(-1)).isEqualTo(1 - 0x1p-24f);
        Random random = new Random(2);
        for (int i = 0; i < 1000; i++) {
            int word = random.nextInt();
            assertThat((double) Philox.uniform(word)).isEqualTo(ReferenceOperations.uniform(word));
        }
    }

    @Test
    void integersLieFromZeroToBelowTheBound() {
        Random random = new Random(3);
        for (int bound : new int[] {1, 2, 3, 80, 65536, 1_000_003, Integer.MAX_VALUE}) {
            assertThat(Philox.below(0, bound)).isZero();
            assertThat(Philox.below(-1, bound)).isEqualTo(bound - 1);
            for (int i = 0; i < 1000; i++) {
                int word = random.nextInt();
                assertThat(Philox.below(word, bound)).isEqualTo(ReferenceOperations.below(word, bound));
            }
        }
    }

    private static int[] block(long seed, int purpose, long step, long block) {
        int[] words = new int[4];
        Philox.fill(seed, purpose, step, block, 1, new Philox.Lanes(), words);
        return words;
    }

    private static int[] words(String hex) {
        String[] parts = hex.split(" ");
        int[] words = new int[parts.length];
        for (int i = 0; i < words.length; i++) {
            words[i] = Integer.parseUnsignedInt(parts[i], 16);
        }
        return words;
    }
}
