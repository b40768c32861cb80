// Calls the kernels as Java does, and prints for each call its sizes and a hash of what its arrays hold then, but for scratch.
// Builds for any instructions print the same lines. Each array is allocated at the size that NativeCall checks and no larger,
// so that AddressSanitizer sees what goes beyond: NativeSelftestTest compiles this file with and without it, and, for the
// packed weights, ternary_*.cpp.
#include "../kernels.h"
#if defined __AMX_BF16__
#include "../matmul_amx.h"
#endif

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <vector>

namespace {

/** The same numbers on every machine: splitmix64, of which 25 bits become a float from -1 to 1. */
class Numbers {
public:
    float next() {
        state += 0x9e3779b97f4a7c15;
        uint64_t z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return float(int32_t((z ^ z >> 31) >> 39) - (1 << 24)) * 0x1p-24f;
    }

private:
    uint64_t state = 0;
};

/** FNV-1a. */
class Hash {
public:
    /** Adds a float's bits; all NaN are one, since processors differ in their signs. */
    void add(float x) {
        uint32_t bits = 0x7fc00000;
        if (x == x) {
            memcpy(&bits, &x, sizeof bits);
        }
        for (int i = 0; i < 4; i++) {
            hash = (hash ^ (bits >> 8 * i & 0xff)) * 0x100000001b3;
        }
    }

    uint64_t hash = 0xcbf29ce484222325;
};

constexpr float NOT_A_NUMBER = std::numeric_limits<float>::quiet_NaN();
constexpr float INFINITE = std::numeric_limits<float>::infinity();

#if defined __AMX_BF16__
constexpr auto products = matmul_amx;
#else
constexpr auto products = matmul_bf16;
#endif

bool wild = false;  // whether what kernels read has some elements that are not finite
int failures = 0;

/** One call of a kernel, with its arguments in the order in which the kernel takes them. */
class Test {
public:
    Test(const char* name, std::initializer_list<int> sizes) : name(name), sizes(sizes) {}

    /** An array that the kernel reads, or reads and writes. */
    Test& read(int64_t n) {
        std::vector<float> x(n);
        for (auto& element : x) {
            element = numbers.next();
        }
        for (float element : {NOT_A_NUMBER, INFINITE, -INFINITE, -0.0f}) {
            if (wild) {
                x[int64_t((numbers.next() + 1) * 0.5f * float(n - 1))] = element;
            }
        }
        arrays.push_back({x, n, n, false});
        return *this;
    }

    Test& update(int64_t n) { return read(n); }

    /** An array of whole numbers that the kernel reads, of 1 or 4 bytes, which some random numbers make by fours or one by one. */
    Test& words(int64_t n, int bytes, uint32_t (*word)(Numbers& numbers)) {
        std::vector<float> x(n);
        for (auto& element : x) {
            uint32_t bits = word(numbers);
            memcpy(&element, &bits, sizeof bits);
        }
        arrays.push_back({x, n, n, false, bytes});
        return *this;
    }

    /** An array that the kernel fills; behind its first elements, which are its results, it may write more. */
    Test& write(int64_t n, int64_t more = 0) {
        arrays.push_back({{}, n + more, n, false});
        return *this;
    }

    Test& write_bytes(int64_t n) {
        arrays.push_back({{}, n / 4, n / 4, false, 1});
        return *this;
    }

    Test& scratch(int64_t n) { return write(0, n); }

    Test& none() {
        arrays.push_back({{}, 0, 0, true});
        return *this;
    }

    Test& read_if(bool some, int64_t n) { return some ? read(n) : none(); }

    Test& write_if(bool some, int64_t n) { return some ? write(n) : none(); }

    Test& number(int32_t x) {
        arguments.push_back(x);
        return *this;
    }

    Test& real(float x) {
        int32_t bits;
        memcpy(&bits, &x, sizeof bits);
        return number(bits);
    }

    /** Calls the kernel twice: what an array that it fills held before, and where in memory it begins, change no bit. */
    void run(Kernel kernel) const {
        uint64_t hash = run(kernel, NOT_A_NUMBER, 0);
        printf("%s%s", name, wild ? " wild" : "");
        for (int size : sizes) {
            printf(" %d", size);
        }
        printf(" %016llx\n", static_cast<unsigned long long>(hash));
        if (run(kernel, 1, 1) != hash) {
            printf("FAILED: %s depends on what memory held before, or on where it begins\n", name);
            failures++;
        }
    }

private:
    struct Array {
        std::vector<float> content;  // none where the kernel fills it
        int64_t length;
        int64_t results;
        bool null;
        int bytes = 4;  // of an element
    };

    uint64_t run(Kernel kernel, float before, int start) const {
        std::vector<void*> elements;
        std::vector<int32_t> starts;
        for (const Array& array : arrays) {
            auto* x = static_cast<float*>(array.null ? nullptr : malloc(sizeof(float) * (start + array.length)));
            if (x) {
                std::fill_n(x, start + array.length, before);
                std::copy(array.content.begin(), array.content.end(), x + start);
            }
            elements.push_back(x);
            starts.push_back(x ? start * 4 / array.bytes : 0);
        }
        kernel(Call(elements.data(), starts.data(), arguments.data()));
        Hash hash;
        for (size_t i = 0; i < arrays.size(); i++) {
            for (int64_t j = 0; j < arrays[i].results; j++) {
                hash.add(static_cast<float*>(elements[i])[start + j]);
            }
            free(elements[i]);
        }
        return hash.hash;
    }

    const char* name;
    std::vector<int> sizes;
    std::vector<Array> arrays;
    std::vector<int32_t> arguments;
    Numbers numbers;
};

/** Fewer and more than a vector has, and some left over. */
const int COLUMNS[] = {1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 47, 48, 64, 65, 100, 128, 384};

void test_linear(int rows, int in, int out) {
    int64_t x = int64_t(rows) * in, w = int64_t(out) * in, y = int64_t(rows) * out;
    for (bool some : {false, true}) {
        Test("linear", {rows, in, out, some})
            .read(x).read(w).read_if(some, out).write(y).number(rows).number(in).number(out).number(some).run(linear);
        Test("linear_grad", {rows, in, out, some})
            .read(x).read(w).read(y).write(w).write_if(some, out).write_if(some, x)
            .number(rows).number(in).number(out).run(linear_grad);
        Test("linear_bf16", {rows, in, out, some})
            .scratch(SCRATCH).read(x).read(w).read_if(some, out).write(y).number(rows).number(in).number(out).number(some)
            .run(linear_bf16<products>);
        Test("linear_grad_bf16", {rows, in, out, some})
            .scratch(SCRATCH).read(x).read(w).read(y).write(w).write_if(some, out).write_if(some, x)
            .number(rows).number(in).number(out).run(linear_grad_bf16<products>);
    }
}

void test_linear() {
    for (int rows = 1; rows <= 13; rows++) {
        for (int out : {1, 3, 4, 8, 11, 12, 13, 15, 16, 17, 24, 31, 32, 33, 36}) {
            test_linear(rows, rows % 5 + 1, out);
        }
        test_linear(rows, 37, 29);
    }
    // from one row to more than are packed at a time, and the same for both other dimensions
    const int sizes[][3] = {{1, 128, 65}, {2, 260, 17}, {4, 65, 130}, {24, 256, 33}, {25, 257, 32}, {128, 32, 96}, {192, 128, 65},
                            {239, 5, 31}, {240, 16, 12}, {241, 257, 34}, {247, 300, 7}, {500, 300, 7}, {7, 513, 70}};
    for (auto& s : sizes) {
        test_linear(s[0], s[1], s[2]);
    }
    for (int c : COLUMNS) {
        for (bool some : {false, true}) {
            Test("relu_grad", {5, c, some})
                .read(5 * c).update(5 * c).write_if(some, c).number(5).number(c).run(relu_grad);
        }
    }
}

void test_norms() {
    constexpr float EPS = 1e-5f;
    for (int c : COLUMNS) {
        int rows = 5;
        int n = rows * c;
        Test("layer_norm", {rows, c})
            .read(n).read(c).read(c).write(n).write(2 * rows).number(rows).number(c).real(EPS).run(layer_norm);
        Test("layer_norm_grad", {rows, c})
            .read(n).read(c).read(2 * rows).read(n).update(n).write(c).write(c).number(rows).number(c).run(layer_norm_grad);
        Test("rms_norm", {rows, c})
            .read(n).read(c).write(n).write(rows).number(rows).number(c).real(EPS).run(rms_norm);
        Test("rms_norm_grad", {rows, c})
            .read(n).read(c).read(rows).read(n).update(n).write(c).number(rows).number(c).run(rms_norm_grad);
        for (bool bias : {false, true}) {
            for (bool mask : {false, true}) {
                Test("residual", {rows, c, bias, mask})
                    .read(n).read(n).read_if(bias, c).read_if(mask, n).write(n).number(rows).number(c).run(residual);
                Test("residual_grad", {rows, c, bias, mask})
                    .read(n).read_if(mask, n).write(n).write_if(bias, c).number(rows).number(c).run(residual_grad);
            }
        }
    }
}

/** As NativeAttention.scratch. */
int scratch(int t, int size) {
    return t < SHORT ? (8 * t * size + 3 * t * t + 2 * t) * 16 : (2 * size + 2 * 96) * (t + 32) + (4 * t + 12) * (size + 32);
}

void test_attention(int batch, int t, int heads, int size) {
    int out = batch * t * heads * size;
    int stats = batch * heads * t * 2;
    for (bool mask : {false, true}) {
        Test("attention", {batch, t, heads, size, mask})
            .read(3 * out).write(out).write(stats).read_if(mask, batch * heads * t * t).scratch(scratch(t, size))
            .none().none()
            .number(batch).number(t).number(heads).number(size).real(0.7f).run(attention);
        Test("attention_grad", {batch, t, heads, size, mask})
            .read(3 * out).read(out).read(stats).read_if(mask, batch * heads * t * t).scratch(scratch(t, size))
            .read(out).write(3 * out)
            .number(batch).number(t).number(heads).number(size).real(0.7f).run(attention_grad);
    }
}

void test_attention() {
    for (int t : {1, 2, 3, 5, 8, 11, 16, 23, 24, 25, 31, 33, 48, 64, 95, 96, 97, 193}) {
        for (int size : {1, 3, 4, 5, 7, 8, 12, 16, 17, 20, 32, 33, 64}) {
            test_attention(1, t, 1, size);
        }
        test_attention(2, t, 3, 8);
        test_attention(3, t, 1, 13);
    }
    for (int t : {1, 7, 23}) {  // more heads than lanes, and as many
        test_attention(5, t, 7, 5);
        test_attention(4, t, 4, 8);
        test_attention(17, t, 1, 4);
    }
    for (int size : {1, 4, 5, 8, 16, 17, 33, 64}) {
        for (int position : {0, 3, 12, 40}) {
            int batch = 2, t = 4, heads = 3, context = 44;
            int width = heads * size;
            Test("attention_cached", {size, position})
                .read(batch * t * 3 * width).write(batch * t * width).update(batch * context * 2 * width)
                .scratch(size + position + t + 16)
                .number(batch).number(t).number(heads).number(size).number(context).number(position).real(0.7f)
                .run(attention_cached);
        }
    }
}

void test_softmax() {
    for (int c : COLUMNS) {
        int rows = c + 3;
        int n = rows * c;
        for (bool flag : {false, true}) {
            Test("softmax", {rows, c, flag}).read(n).write(n).number(rows).number(c).number(flag).run(softmax);
            Test("softmax_grad", {rows, c, flag})
                .read(n).read(n).write(n).number(rows).number(c).number(flag).run(softmax_grad);
            Test("cross_entropy", {rows, c, flag})
                .read(n).write(2 * rows).write_if(flag, n).scratch(c).number(rows).number(c).real(0.1f).run(cross_entropy);
        }
    }
}

void test_quantization() {
    constexpr float SMALLEST = 1e-5f;
    for (int c : COLUMNS) {
        for (bool full : {false, true}) {
            float strength = full ? 1 : 0.3f;
            for (bool one_bit : {false, true}) {
                Test("quantize_weights", {3, c, full, one_bit})
                    .read(3 * c).write(3 * c).scratch(c).number(3).number(c).number(one_bit).real(SMALLEST).real(strength)
                    .run(quantize_weights);
            }
            Test("quantize_rows", {3, c, full})
                .read(3 * c).write(3 * c).number(3).number(c).real(SMALLEST).real(strength).run(quantize_rows);
        }
    }
}

void test_optimizer() {
    for (int n : {1, 3, 7, 16, 33, 100, 4096, 4099}) {
        for (bool add : {false, true}) {
            for (int parts : {1, 2, MOST_PARTS}) {
                Test test("sum", {n, parts, add});
                add ? test.update(n) : test.write(n);
                for (int p = 0; p < MOST_PARTS; p++) {
                    test.read_if(p < parts, n);
                }
                test.number(n).number(parts).number(add).run(sum);
            }
        }
        Test("squares", {n}).read(n).write((n + 31) / 32).number(n).number(32).run(squares);
        Test("adamw", {n})  // half of the second moments have no root
            .update(n).read(n).update(n).update(n).number(n)
            .real(0.5f).real(0.9f).real(0.95f).real(0.01f).real(1.1f).real(1e-8f).real(0.999f).real(1e-24f).run(adamw);
    }
}

void test_peak() {
    Test("peak_fp32", {5}).write(1).update(NUMBERS).number(5).real(0.7f).real(0.3f).run(peak_fp32);
    for (int n : {1, 64, 1000}) {
        Test("read", {n}).write(1).read(n).number(n).run(read);
    }
}

void test_dropout() {
    for (int blocks : {1, 2, 3, 7, 8, 9, 15, 16, 17, 100}) {
        Test("dropout_mask", {blocks})
            .write(8 * blocks, 8 * 16).number(42).number(-7).number(3).number(9)
            .number(-5).number(1)  // the first block, whose lower half overflows soon
            .number(blocks).number(19661).real(1.4f).run(dropout_mask);
    }
}

#if defined __AMX_INT8__
constexpr const ternary::Kernels& PACKED = ternary::amx;
#elif defined __AVX512VNNI__
constexpr const ternary::Kernels& PACKED = ternary::avx512;
#elif defined __AVX2__
constexpr const ternary::Kernels& PACKED = ternary::avx2;
#endif

#if defined __AVX2__
/** From 0 to 254 each; 0 if wild, from which the largest sums are made. */
uint32_t four_bytes(Numbers& numbers) {
    uint32_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        bytes = bytes << 8 | uint32_t((numbers.next() + 1) * (wild ? 0 : 127.4f));
    }
    return bytes;
}

uint32_t four_values(Numbers& numbers) {
    return four_bytes(numbers) ^ 0x7f7f7f7f;  // from 127 to -127
}

uint32_t one_bit_codes(Numbers& numbers) {
    return ~four_bytes(numbers);
}

uint32_t two_bit_codes(Numbers& numbers) {
    uint32_t codes = ~four_bytes(numbers);
    return codes & ~(codes >> 1 & codes & 0x55555555);  // 3 is none
}

uint32_t small_sum(Numbers& numbers) {
    return uint32_t(1000 * (numbers.next() + 1));
}

/** Sizes from one tile and unit to some, and more rows than are multiplied at a time, or than have their sums kept. */
void test_packed() {
    for (int bits : {1, 2}) {
        for (int rows = 1; rows <= 300; rows += rows < 40 ? 1 : 260) {
            for (int units : {1, 2, 9, 17}) {
                int out = 16 * (rows % 4) + 7 * (units % 2) + 9;
                int stride = units * 256 / bits;
                int tiles = (out + 15) / 16;
                for (int some : {0, 1}) {
                    Test("packed_linear", {bits, rows, units, out, some})
                        .words(rows * stride / 4, 1, four_values).read(rows).words(rows, 4, small_sum)
                        .words(tiles * units * 128, 1, bits == 1 ? one_bit_codes : two_bit_codes)
                        .read(out).read_if(some, out).write(rows * out)
                        .number(bits).number(rows).number(stride).number(out).number(some).number(0).number(tiles)
                        .run(packed_linear<PACKED>);
                }
            }
        }
    }
    for (int c : COLUMNS) {
        int stride = (c + 127) / 128 * 128;
        Test("quantize_int8", {3, c})
            .read(3 * c).write_bytes(3 * stride).write(3).write(3).number(3).number(c).number(stride)
            .run(quantize_int8<PACKED>);
    }
}
#else
void test_packed() {}  // there are no such kernels
#endif

}  // namespace

int main() {
#if defined __AMX_BF16__
    if (!request_tiles()) {
        return 1;
    }
#endif
    for (bool some : {false, true}) {
        wild = some;
        test_linear();
        test_norms();
        test_attention();
        test_softmax();
        test_quantization();
        test_optimizer();
        test_peak();
        test_packed();
    }
    test_dropout();
    return failures > 0;
}
