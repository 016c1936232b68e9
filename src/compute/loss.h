/* loss: head product and cross-entropy by chunks of rows; the logits Z = X·Wᵀ are never stored.
 *
 * With t the target of a row and z its logits, S = Σ_{j≠t} exp(z_j − z_t):  CE = log(1 + S), and the gradient of z is
 * weight/(1 + S)·exp(z_j − z_t) for j ≠ t and −weight·S/(1 + S) for t. So the exponentials P can be taken as soon as a
 * block of z is made, rounded to the type of x; what depends on the whole row is one factor, which goes to the rows of
 * the other operands, and the target's own term is added in f32:
 *
 *     dX = factor·(P·W) − weight·S/(1+S)·W[t]        dW += Pᵀ·(factor·X);  dW[t] −= weight·S/(1+S)·X */
#ifndef MDM_COMPUTE_LOSS_H
#define MDM_COMPUTE_LOSS_H
#include <stdint.h>
#include "compute/linear.h"

enum { LOSS_CHUNK = 1152 }; /* rows: three tiles of a product */
/* Bytes of scratch that loss_cross_entropy() needs for up to n rows, with dw or without. */
int64_t loss_scratch(int64_t n, int64_t V, int64_t E, enum dtype t, bool backward);
/* head [V,E], without bias. x[n,E] of type linear_type(head), targets[n], weight[n]; loss[n] = CE of each row (unweighted; may be NULL).
 * With dw: dx[n,E] f32 and dw[V,E] += of Σ weight·CE. dw NULL: losses only. Returns Σ weight·CE in double, in row
 * order. */
double loss_cross_entropy(float *loss, float *dx, float *dw, const void *x, const struct linear *head,
                          const int32_t *targets, const float *weight, int64_t n, void *scratch);

#endif
