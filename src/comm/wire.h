/* wire: floats on their way between ranks: as they are, or rounded to bf16, which halves the way.
 *
 *     struct wire w;
 *     wire_open(&w, DTYPE_BF16, n, &err);
 *     wire_round(&w, v, n);  wire_add(&w, sum, v, n);       // what may travel is what can
 *     wire_exchange(&w, to, from);                          // as comm_exchange(), of floats
 *     wire_close(&w);
 *
 * Which sums of a tree (tree.h) travel depends on the number of ranks. So that the bits do not, every leaf and every sum of
 * two is rounded, also where nothing travels. With u = 2^-8 and a tree of d levels over leaves x that is an error of at
 * most ((1 + u)^(d + 1) - 1) sum |x|, beside that of f32. */
#ifndef MDM_COMM_WIRE_H
#define MDM_COMM_WIRE_H
#include <stdint.h>

#include "comm/comm.h"
#include "compute/kernels.h"

struct wire {
    enum dtype type; /* DTYPE_F32 or DTYPE_BF16 */
    int64_t room;    /* elements that may come, or go, in an exchange */
    uint16_t *out, *in;
};
int64_t wire_bytes(enum dtype type, int64_t room); /* that it takes */
int wire_open(struct wire *w, enum dtype type, int64_t room, struct err *err);
void wire_close(struct wire *w);
void wire_round(const struct wire *w, float *v, int64_t n);
void wire_add(const struct wire *w, float *y, const float *x, int64_t n);
/* Pieces of floats, their bytes those of floats. What goes must be rounded, and what comes is. */
void wire_exchange(const struct wire *w, const struct comm_piece *to, const struct comm_piece *from);

#endif
