// Counts on the device: the number of the step, the position in a sequence.
//
// Bound by latency: one number.
#include "common/kernel.cuh"

KERNEL(1, increment, int* counter) {
    *counter += 1;
}
