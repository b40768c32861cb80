// AMX's tiles: eight registers of up to 16 rows of 64 bytes.
#pragma once

#include <cstdint>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr int TILE = 16;  // rows of a tile, each of 16 numbers of 32 bits

/** Asks Linux for the state of the tiles, which a process has for all its threads once it was granted. */
inline bool request_tiles() {
    constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/** Keeps stores to memory before what tiles load from it: GCC's intrinsics do not tell that they read. */
inline void written_for_tiles() {
    asm volatile("" ::: "memory");
}

/** While it lives, all tiles can be used: 6 and 7 at their full size, the others with as many rows as it is told. */
class TileState {
public:
    __attribute__((target("amx-tile"))) explicit TileState(int rows = TILE) {
        uint8_t n = rows;
        struct alignas(64) {
            uint8_t palette = 1;
            uint8_t start_row = 0;
            uint8_t reserved[14] = {};
            uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16];
        } config{.rows = {n, n, n, n, n, n, TILE, TILE}};
        asm volatile("" : : "m"(config));
        _tile_loadconfig(&config);
    }

    __attribute__((target("amx-tile"))) ~TileState() { _tile_release(); }

    TileState(const TileState&) = delete;
};

}  // namespace
