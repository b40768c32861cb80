#pragma once

namespace simt {

// Kernels may read the constants of the library that holds this symbol.
void allow_reading_image_of(const void* symbol);

}  // namespace simt
