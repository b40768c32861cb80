// How a library of the host, such as libcublas.so.12, puts its work into a stream.
#pragma once

#include <cstddef>
#include <functional>

using CUresult = int;

namespace simt {

#pragma GCC visibility push(default)

// Runs the work in stream order, or captures it. The work may be run many times.
CUresult enqueue(void* stream, const char* name, std::function<void()> work);

// Whether the stream writes down what is put into it.
bool is_capturing(void* stream);

// Whether a library may take memory for itself now: 0, or what is wrong with the context or forbidden during a capture.
CUresult may_allocate();

// Whether all these bytes are device memory. If not, the context is broken as after a kernel that went there, and a line on
// stderr says so. For use inside the work.
bool check_range(const char* name, const void* address, size_t bytes, bool write);

// Whether this product is the one that was asked to be refused.
bool product_refused();

#pragma GCC visibility pop

}  // namespace simt
