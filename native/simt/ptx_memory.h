// What the execution of PTX tells its memory, and what the driver does.
#pragma once

#include "ptx.h"

namespace simt::ptx {

void begin_launch(const std::vector<SharedVariable>& shared, unsigned dynamic_start, unsigned dynamic_bytes);
void begin_block(unsigned threads);

// Whether each write to device memory is noted from now on, so that it can be taken back.
void keep_journal(bool keep);
void take_back();

}  // namespace simt::ptx
