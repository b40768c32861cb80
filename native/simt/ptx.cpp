// The kernels that exist: those compiled by g++, and those that a PTX text declares.
#include "checks.h"
#include "driver.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
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

std::string take_name(const char*& text) {
    text = skip_blank(text);
    size_t length = std::strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$.");
    std::string name(text, length);
    text += length;
    return name;
}

// ".param .u64 name" or ".param .align 8 .b8 name[24]", up to the comma or the closing bracket.
unsigned parameter_size(const std::string& declaration) {
    unsigned bits = 0, elements = 1;
    for (size_t dot = declaration.find('.'); dot != std::string::npos; dot = declaration.find('.', dot + 1)) {
        char kind = declaration[dot + 1];
        if ((kind == 'u' || kind == 's' || kind == 'f' || kind == 'b') && isdigit(declaration[dot + 2])) {
            bits = unsigned(std::atoi(declaration.c_str() + dot + 2));
        }
    }
    size_t bracket = declaration.find('[');
    if (bracket != std::string::npos) {
        elements = unsigned(std::atoi(declaration.c_str() + bracket + 1));
    }
    return bits / 8 * elements;
}

}  // namespace

const Kernel* find_kernel(const std::string& name) {
    load_kernels();
    auto found = registry().find(name);
    return found == registry().end() ? nullptr : found->second;
}

bool parse_ptx(const char* text, std::vector<PtxEntry>& entries) {
    text = skip_blank(text);
    if (!starts_with(text, ".version")) {
        return false;
    }
    while ((text = std::strstr(text, ".entry")) != nullptr) {
        text += std::strlen(".entry");
        PtxEntry entry;
        entry.name = take_name(text);
        text = skip_blank(text);
        if (*text == '(') {
            const char* end = std::strchr(text, ')');
            if (end == nullptr) {
                return false;
            }
            std::string list(text + 1, end);
            for (size_t start = list.find(".param"); start != std::string::npos;) {
                size_t next = list.find(".param", start + 1);
                entry.sizes.push_back(parameter_size(list.substr(start, next == std::string::npos ? next : next - start)));
                start = next;
            }
            text = end;
        }
        entries.push_back(entry);
    }
    return true;
}

}  // namespace simt

void simt_register(const simt::Kernel* kernel) {
    simt::registry()[kernel->name] = kernel;
}
