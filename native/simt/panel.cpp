#include "panel.h"

#include "driver.h"
#include "enqueue.h"
#include "late.h"
#include "memory.h"

#include <cstdio>
#include <cstdlib>

namespace simt {

Panel panel;

namespace {

enum Number : unsigned {
    RESET = PANEL_FIRST,
    FAIL_ALLOC,
    FAIL_LAUNCH,
    LOSE_DEVICE,
    TOTAL_MEMORY,
    OTHERS_MEMORY,
    DEVICES,
    DRIVER_VERSION,
    CAPABILITY,
    NAME,
    REFUSE_PRODUCT,
    LIVE_ALLOCATIONS = PANEL_FIRST + 0x100,
    LIVE_BYTES,
    LAUNCHES,
    LIBRARY_LAUNCHES,
    CALLS,
};

void reset() {
    Panel fresh;
    fresh.launches = panel.launches;
    fresh.library_launches = panel.library_launches;
    fresh.calls = panel.calls;
    panel = fresh;
    for (Context* context : contexts.all()) {
        if (context->broken != CUDA_SUCCESS) {
            late::finish(context);  // work that waits goes with the broken context
        }
        context->broken = CUDA_SUCCESS;
    }
}

void add_to_name(uint64_t characters) {
    if (characters == 0) {
        panel.name = Panel().name;
        panel.name_given = false;
        return;
    }
    if (!panel.name_given) {
        panel.name.clear();
        panel.name_given = true;
    }
    for (; characters != 0; characters >>= 8) {
        panel.name += char(characters & 255);
    }
}

}  // namespace

bool due(uint64_t& countdown) {
    return countdown != 0 && --countdown == 0;
}

bool product_refused() {
    return due(panel.refuse_product);
}

CUresult panel_set(unsigned number, uint64_t value) {
    switch (number) {
        case RESET: reset(); return CUDA_SUCCESS;
        case FAIL_ALLOC: panel.fail_alloc = value; return CUDA_SUCCESS;
        case FAIL_LAUNCH: panel.fail_launch = value; return CUDA_SUCCESS;
        case LOSE_DEVICE: panel.lose_device = value; return CUDA_SUCCESS;
        case TOTAL_MEMORY: panel.total_memory = value; return CUDA_SUCCESS;
        case OTHERS_MEMORY: panel.others_memory = value; return CUDA_SUCCESS;
        case DEVICES: panel.devices = value; return CUDA_SUCCESS;
        case DRIVER_VERSION: panel.driver_version = value; return CUDA_SUCCESS;
        case CAPABILITY: panel.capability = value; return CUDA_SUCCESS;
        case NAME: add_to_name(value); return CUDA_SUCCESS;
        case REFUSE_PRODUCT: panel.refuse_product = value; return CUDA_SUCCESS;
        default: return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult panel_get(unsigned number, size_t* value) {
    switch (number) {
        case FAIL_ALLOC: *value = panel.fail_alloc; return CUDA_SUCCESS;
        case FAIL_LAUNCH: *value = panel.fail_launch; return CUDA_SUCCESS;
        case LOSE_DEVICE: *value = panel.lose_device; return CUDA_SUCCESS;
        case TOTAL_MEMORY: *value = panel.total_memory; return CUDA_SUCCESS;
        case OTHERS_MEMORY: *value = panel.others_memory; return CUDA_SUCCESS;
        case DEVICES: *value = panel.devices; return CUDA_SUCCESS;
        case DRIVER_VERSION: *value = panel.driver_version; return CUDA_SUCCESS;
        case CAPABILITY: *value = panel.capability; return CUDA_SUCCESS;
        case REFUSE_PRODUCT: *value = panel.refuse_product; return CUDA_SUCCESS;
        case LIVE_ALLOCATIONS: *value = live_allocations(); return CUDA_SUCCESS;
        case LIVE_BYTES: *value = live_bytes(); return CUDA_SUCCESS;
        case LAUNCHES: *value = panel.launches; return CUDA_SUCCESS;
        case LIBRARY_LAUNCHES: *value = panel.library_launches; return CUDA_SUCCESS;
        case CALLS: *value = panel.calls; return CUDA_SUCCESS;
        default: return CUDA_ERROR_INVALID_VALUE;
    }
}

void panel_from_environment() {
    const char* given = std::getenv("SIMT_FAULTS");
    std::string faults = given == nullptr ? "" : given;
    for (size_t start = 0; start < faults.size();) {
        size_t end = faults.find(',', start);
        end = end == std::string::npos ? faults.size() : end;
        std::string item = faults.substr(start, end - start);
        start = end + 1;
        size_t equals = item.find('=');
        std::string key = item.substr(0, equals), text = equals == std::string::npos ? "" : item.substr(equals + 1);
        uint64_t value = std::strtoull(text.c_str(), nullptr, 0);
        if (key == "alloc") {
            panel.fail_alloc = value;
        } else if (key == "launch") {
            panel.fail_launch = value;
        } else if (key == "lose") {
            panel.lose_device = value;
        } else if (key == "total") {
            panel.total_memory = value;
        } else if (key == "others") {
            panel.others_memory = value;
        } else if (key == "devices") {
            panel.devices = value;
        } else if (key == "driver") {
            panel.driver_version = value;
        } else if (key == "capability") {
            panel.capability = value;
        } else if (key == "name") {
            panel.name = text;
        } else if (key == "product") {
            panel.refuse_product = value;
        } else {
            std::fprintf(stderr, "simt: SIMT_FAULTS does not know \"%s\"; use alloc, launch, lose, total, others, devices, driver, "
                    "capability, name or product\n", key.c_str());
        }
    }
}

}  // namespace simt
