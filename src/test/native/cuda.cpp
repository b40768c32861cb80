// A driver that only answers questions about itself, as the environment says.
#include <cstdlib>
#include <cstring>

static int setting(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

extern "C" {
int cuInit(unsigned) { return setting("STUB_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = setting("STUB_VERSION", 12040); return setting("STUB_RESULT", 0); }
int cuDeviceGetCount(int *count) { *count = setting("STUB_DEVICES", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int) { strncpy(name, "Stub", size); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    *value = attribute == 75 ? setting("STUB_MAJOR", 9) : attribute == 76 ? 0 : 132;
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int) { *context = context; return 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxPushCurrent_v2(void *) { return 0; }
int cuCtxPopCurrent_v2(void **) { return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = 1ul << 30; *total = 3ul << 30; return 0; }
}
