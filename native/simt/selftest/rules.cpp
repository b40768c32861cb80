// What NVIDIA's documentation forbids, done on purpose: the driver must refuse each with the error that a GPU's driver gives.
#include "selftest.h"

namespace {

// Images that no driver takes, or this one does not.
void images() {
    auto load = [](const std::string& what, const std::string& image, CUresult wanted, const char* words) {
        void* other;
        CUresult error = 0;
        std::string text = errors_of([&] { error = cuModuleLoadData(&other, image.c_str()); });
        check(what, error == wanted && text.find(words) != std::string::npos, std::to_string(error) + ", " + text);
    };
    const std::string header = ".version 8.0\n.target sm_80\n.address_size 64\n", body = ".visible .entry nothing()\n{\n";
    load("an image that is not PTX", "\177ELF", 200, "not PTX text");
    load("text that is not PTX", "this is no PTX", 200, "not PTX text");
    load("PTX that begins with its target", ".target sm_80\n.version 8.0\n", 200, "not PTX text");
    load("PTX without a version behind a comment", "// nothing\n.target sm_80\n", 218, "does not begin with .version");
    load("PTX of no version", ".version eight\n.target sm_80\n", 218, "does not begin with .version");
    load("PTX without a target", ".version 8.0\n.address_size 64\n", 218, "no .target");
    load("PTX with a target that there is not", ".version 8.0\n.target sm_77\n", 218, "no .target");
    load("text that is not PTX behind a header", header + "this is no PTX", 218, "");
    load("PTX that ends too early", header + body + "ret;\n", 218, "");
    load("an instruction that there is not", header + body + "retire;\n}\n", 218, "retire");
    load("PTX that is newer than the driver", ".version 8.6\n.target sm_80\n", 222, "this driver knows 8.5");
    cuCtxSetLimit(DRIVER, 13000);
    load("PTX for a newer device", ".version 8.6\n.target sm_100\n", 209, "this device is sm_90");
    cuCtxSetLimit(DRIVER, 12000);
    load("PTX that is newer than an old driver", ".version 8.1\n.target sm_80\n", 222, "this driver knows 8.0");
    load("a target that is newer than the PTX", ".version 8.0\n.target sm_100\n", 218, "does not know the target sm_100");
    cuCtxSetLimit(CAPABILITY, 80);
    load("PTX for a device newer than an old one", ".version 8.0\n.target sm_90\n", 209, "this device is sm_80");
    cuCtxSetLimit(CAPABILITY, 100);
    load("PTX for one device only", ".version 8.0\n.target sm_90a\n", 209, "this device is sm_100");
    cuCtxSetLimit(RESET, 0);

    char log[100];
    int options[] = {5, 6};  // CU_JIT_ERROR_LOG_BUFFER and its size
    auto log_of = [&](const std::string& image) {
        void* other;
        void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
        errors_of([&] { cuModuleLoadDataEx(&other, image.c_str(), 2, options, values); });
        return std::string(log);
    };
    check("the log of PTX that is damaged", log_of(header + body + "retire;\n}\n").find("retire") != std::string::npos, log);
    check("the log of what is not PTX", log_of("int main").empty(), log);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "rules needs the path of kernels.ptx\n");
        return 2;
    }
    ptx = text_of(arguments[1]);
    expect("cuInit", cuInit(0), 0);
    cuDevicePrimaryCtxRetain(&context, 0);
    renew();
    images();
    expect("release of the context", cuDevicePrimaryCtxRelease_v2(0), 0);
    std::printf(failures == 0 ? "all passed\n" : "%d failed\n", failures);
    return failures == 0 ? 0 : 1;
}
