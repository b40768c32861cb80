// Products of 8-bit rows and packed weights, and the rounding of rows to 8 bits, as JavaPacked computes them.
#pragma once

#include "call.h"
#include "ternary.h"

namespace {

template <const ternary::Kernels& KERNELS>
void packed_linear(Call call) {
    ternary::Product p;
    p.x = call.array<int8_t>();
    p.x_scales = call.floats();
    p.x_sums = call.array<int32_t>();
    p.codes = call.array<uint8_t>();
    p.w_scales = call.floats();
    p.bias = call.floats();
    p.y = call.floats();
    p.bits = call.number();
    p.rows = call.number();
    p.stride = call.number();
    p.out = call.number();
    p.relu = call.number();
    int from_tile = call.number();
    int to_tile = call.number();
    KERNELS.multiply(p, from_tile, to_tile);
}

template <const ternary::Kernels& KERNELS>
void quantize_int8(Call call) {
    ternary::Rounding r;
    r.x = call.floats();
    r.values = call.array<int8_t>();
    r.scales = call.floats();
    r.sums = call.array<int32_t>();
    r.rows = call.number();
    r.columns = call.number();
    r.stride = call.number();
    KERNELS.round(r);
}

}  // namespace
