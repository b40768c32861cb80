// The kernels that g++ compiled, and what a driver looks at in PTX before it reads it.
#include "checks.h"
#include "driver.h"
#include "panel.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <iterator>
#include <map>

namespace simt {

namespace {

std::map<std::string, const Kernel*>& registry() {
    static std::map<std::string, const Kernel*> kernels;
    return kernels;
}

// libkernels.so beside this library, or the file that SIMT_KERNELS names.
void load_kernels() {
    static bool loaded = false;
    if (loaded) {
        return;
    }
    std::string path;
    if (const char* given = std::getenv("SIMT_KERNELS")) {
        path = given;
    } else {
        Dl_info own;
        dladdr(reinterpret_cast<void*>(&load_kernels), &own);
        path = own.dli_fname;
        path = path.substr(0, path.rfind('/') + 1) + "libkernels.so";
    }
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
        std::fprintf(stderr, "simt: cannot load the kernels (%s); run scripts/build-simt\n", dlerror());
        return;
    }
    loaded = true;
    if (!registry().empty()) {
        allow_reading_image_of(registry().begin()->second);
    }
}

bool starts_with(const char* text, const char* word) {
    return std::strncmp(text, word, std::strlen(word)) == 0;
}

const char* skip_blank(const char* text) {
    for (;;) {
        if (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r') {
            text++;
        } else if (starts_with(text, "//")) {
            text += std::strcspn(text, "\n");
        } else if (starts_with(text, "/*") && std::strstr(text, "*/") != nullptr) {
            text = std::strstr(text, "*/") + 2;
        } else {
            return text;
        }
    }
}

// A version as a number: 83 is 8.3. 0 when there is none.
unsigned take_version(const char*& text) {
    unsigned major, minor;
    int length = 0;
    if (std::sscanf(text, "%u.%u%n", &major, &minor, &length) != 2 || length == 0) {
        return 0;
    }
    text += length;
    return major * 10 + minor;
}

std::string version_text(unsigned version) { return std::to_string(version / 10) + "." + std::to_string(version % 10); }

// From what on which version of PTX is known: "PTX ISA", section "Release Notes".
struct Since {
    unsigned what, version;
};
constexpr Since PTX_OF_DRIVERS[] = {{0, 65}, {11000, 70}, {11010, 71}, {11020, 72}, {11030, 73}, {11040, 74}, {11050, 75}, {11060, 76},
    {11070, 77}, {11080, 78}, {12000, 80}, {12010, 81}, {12020, 82}, {12030, 83}, {12040, 84}, {12050, 85}, {12070, 86}, {12080, 87},
    {12090, 88}, {13000, 90}, {13010, 91}};
constexpr Since PTX_OF_TARGETS[] = {{50, 40}, {52, 41}, {53, 42}, {60, 50}, {61, 50}, {62, 50}, {70, 60}, {72, 61}, {75, 63}, {80, 70},
    {86, 71}, {87, 74}, {88, 90}, {89, 78}, {90, 78}, {100, 86}, {101, 86}, {103, 88}, {110, 90}, {120, 87}, {121, 88}};
}  // namespace

const Kernel* find_kernel(const std::string& name) {
    load_kernels();
    auto found = registry().find(name);
    return found == registry().end() ? nullptr : found->second;
}

CUresult check_ptx_header(const char* text, std::string& message) {
    text = text + std::strspn(text, " \t\r\n");
    if (!starts_with(text, ".version") && !starts_with(text, "//")) {
        message = "the image is not PTX text: it begins with neither .version nor a comment";
        return CUDA_ERROR_INVALID_IMAGE;
    }
    text = skip_blank(text);
    unsigned version = 0;
    if (starts_with(text, ".version")) {
        text = skip_blank(text + std::strlen(".version"));
        version = take_version(text);
    }
    if (version == 0) {
        message = "the PTX does not begin with .version and a version such as 8.0";
        return CUDA_ERROR_INVALID_PTX;
    }
    unsigned known = 0;
    for (const Since& driver : PTX_OF_DRIVERS) {
        if (driver.what <= panel.driver_version) {
            known = driver.version;
        }
    }
    if (version > known) {
        message = "the PTX has version " + version_text(version) + ", and this driver knows " + version_text(known) + " and older";
        return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    }
    text = skip_blank(text);
    unsigned target = 0;
    char variant = 0;
    if (starts_with(text, ".target")) {
        text = skip_blank(text + std::strlen(".target"));
        std::sscanf(text, "sm_%u%c", &target, &variant);
    }
    auto supported = std::find_if(std::begin(PTX_OF_TARGETS), std::end(PTX_OF_TARGETS), [&](const Since& one) { return one.what == target; });
    if (supported == std::end(PTX_OF_TARGETS)) {
        message = "the PTX has no .target that is known behind its .version";
        return CUDA_ERROR_INVALID_PTX;
    }
    std::string name = "sm_" + std::to_string(target);
    if (supported->version > version) {
        message = "PTX " + version_text(version) + " does not know the target " + name;
        return CUDA_ERROR_INVALID_PTX;
    }
    // sm_90a is for 9.0 and nothing newer, sm_100f for what begins with 10.
    bool too_new = (variant == 'a' && panel.capability != target) || (variant == 'f' && panel.capability / 10 != target / 10);
    if (target > panel.capability || too_new) {
        message = "the PTX is for " + name + ", and this device is sm_" + std::to_string(panel.capability);
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    return CUDA_SUCCESS;
}

}  // namespace simt

void simt_register(const simt::Kernel* kernel) {
    simt::registry()[kernel->name] = kernel;
}
