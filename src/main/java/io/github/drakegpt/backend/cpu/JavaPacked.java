package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.bytes;
import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** 8-bit rows and packed weights: the definition of their bits, and what machines without native code compute. */
class JavaPacked {
    private static final int ROWS = PackedMatrix.TILE_ROWS;

    /** Rounds rows of c elements to 8 bits. */
    void quantizeInt8(Tensor x, Int8Rows q, int rows, int c) {
        float[] xs = floats(x);
        byte[] values = bytes(q.values());
        int stride = q.stride();
        float[] magnitudes = Scratch.get().floats(0, c);
        for (int r = 0; r < rows; r++) {
            int xo = start(x) + r * c;
            int qo = start(q.values()) + r * stride;
            for (int j = 0; j < c; j++) {
                magnitudes[j] = Math.abs(xs[xo + j]);
            }
            float largest = Math.max(VectorMath.max(magnitudes, 0, c), JavaQuantization.SMALLEST_SCALE);
            float scale = 127 / largest;
            int sum = 0;
            for (int j = 0; j < c; j++) {
                int value =
                        (int) (xs[xo + j] * scale + JavaQuantization.ROUNDING - JavaQuantization.ROUNDING); // 0 for NaN
                values[qo + j] = (byte) value;
                sum += value;
            }
            Arrays.fill(values, qo + c, qo + stride, (byte) 0);
            floats(q.scales())[start(q.scales()) + r] = largest / 127;
            ints(q.sums())[start(q.sums()) + r] = sum;
        }
    }

    /**
     * The outputs of a {@link PackedLinearOp} from tiles fromTile to toTile - 1 of the weights. Unpacks a tile once for
     * all rows, and multiplies ints in loops that the JIT compiler vectorizes.
     */
    void packedLinear(PackedLinearOp op, int rows, int fromTile, int toTile) {
        Int8Rows x = op.x();
        PackedWeights w = op.w();
        int bits = PackedMatrix.bits(w.quantization());
        int stride = x.stride();
        Scratch scratch = Scratch.get();
        int[] codes = scratch.ints(0, ROWS * stride);
        int[] row = scratch.ints(1, stride);
        byte[] xs = bytes(x.values());
        for (int tile = fromTile; tile < toTile; tile++) {
            unpack(bytes(w.codes()), start(w.codes()) + tile * (ROWS * stride * bits / 8), bits, stride, codes);
            int outs = Math.min(ROWS, w.out() - tile * ROWS);
            for (int m = 0; m < rows; m++) {
                int xo = start(x.values()) + m * stride;
                for (int k = 0; k < stride; k++) {
                    row[k] = xs[xo + k];
                }
                float scale = floats(x.scales())[start(x.scales()) + m];
                int sum = ints(x.sums())[start(x.sums()) + m];
                for (int i = 0; i < outs; i++) {
                    int n = tile * ROWS + i;
                    int products = 0;
                    for (int k = 0, c = i * stride; k < stride; k++, c++) {
                        products += codes[c] * row[k];
                    }
                    // codes begin at 0, weights at -1; of two codes the larger is 1, of three the middle one
                    // for 0
                    int product = (bits == 1 ? 2 * products : products) - sum;
                    float value = product * (floats(w.scales())[start(w.scales()) + n] * scale);
                    if (op.bias() != null) {
                        value += floats(op.bias())[start(op.bias()) + n];
                    }
                    floats(op.y())[start(op.y()) + m * w.out() + n] = op.relu() ? Math.max(value, 0f) : value;
                }
            }
        }
    }

    /** The codes of one tile as (16, columns); the layout is {@link PackedMatrix}'s. */
    private static void unpack(byte[] packed, int from, int bits, int columns, int[] codes) {
        int mask = (1 << bits) - 1;
        int slots = 8 / bits;
        int at = from;
        for (int unit = 0; unit < columns; unit += 128 * slots / 4) {
            for (int t = 0; t < 4; t++) {
                for (int g = 0; g < 8; g++) {
                    for (int jb = 0; jb < 16; jb++, at++) {
                        for (int slot = 0; slot < slots; slot++) {
                            int column = unit + 128 * (slot >> 2) + 32 * t + 16 * (slot >> 1 & 1) + jb;
                            codes[((slot & 1) * 8 + g) * columns + column] = packed[at] >> bits * slot & mask;
                        }
                    }
                }
            }
        }
    }
}
