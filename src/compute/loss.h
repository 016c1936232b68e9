/* loss: head product and cross-entropy fused by chunks of rows, so that the n×V logits never exist.
 * For each chunk: Z = X·Wᵀ; loss and dZ; dX = dZ·W; dW += dZᵀ·X. */
#ifndef MDM_COMPUTE_LOSS_H
#define MDM_COMPUTE_LOSS_H
#include <stdint.h>
#include "compute/matmul.h"

enum { LOSS_CHUNK = 512 };
int64_t loss_scratch(int64_t V, enum dtype t);
/* x[n,E] of type head->t, targets[n], weight[n]; loss[n] = CE of each row (unweighted; may be NULL).
 * With dw: dx[n,E] f32 and dw[V,E] += of Σ weight·CE. dw NULL: losses only. Returns Σ weight·CE in double, in row
 * order. */
double loss_cross_entropy(float *loss, float *dx, float *dw, const void *x, const struct matmul_weight *head,
                          const int32_t *targets, const float *weight, int64_t n, void *scratch);

#endif
