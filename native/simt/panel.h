// Faults and facts that tests ask for through cuCtxSetLimit, cuCtxGetLimit and SIMT_FAULTS.
#pragma once

#include "enqueue.h"

#include <cstdint>
#include <string>

namespace simt {

struct Panel {
    uint64_t fail_alloc = 0, fail_launch = 0, lose_device = 0, refuse_product = 0;  // n: the n-th next one; 0: none
    bool lost = false;
    uint64_t total_memory = uint64_t(4) << 30, others_memory = 0;
    uint64_t devices = 1, driver_version = 12060, capability = 90;
    std::string name = "SIMT driver (no GPU)";
    bool name_given = false;
    uint64_t launches = 0, library_launches = 0, calls = 0;
};
extern Panel panel;

constexpr unsigned PANEL_FIRST = 0x51000000;

CUresult panel_set(unsigned number, uint64_t value);
CUresult panel_get(unsigned number, size_t* value);
void panel_from_environment();

// Whether this is the one that was asked to fail.
bool due(uint64_t& countdown);

}  // namespace simt
