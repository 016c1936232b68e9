/* comm_self: the one-process stand-in: every sum is already the sum. */
#include "comm/comm.h"

int comm_rank(void) {
    return 0;
}

int comm_size(void) {
    return 1;
}

void comm_sum_f32(float *v, int64_t n) {
    (void)v;
    (void)n;
}

void comm_sum_f64(double *v, int64_t n) {
    (void)v;
    (void)n;
}

int comm_agree(int word) {
    return word;
}
