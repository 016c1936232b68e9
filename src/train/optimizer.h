/* optimizer: AdamW over flat buffers with a global-norm clip (docs/model.md). Any slice [first, first + n) of the flat buffers
 * can be stepped by itself: that is how shards use it. */
#ifndef MDM_TRAIN_OPTIMIZER_H
#define MDM_TRAIN_OPTIMIZER_H
#include <stdint.h>

struct muon;

struct optimizer {
    double beta1, beta2, eps, weight_decay, clip; /* clip 0: none */
    float *m, *v;                                 /* borrowed, n floats each */
    int64_t first, n;
    const struct muon *muon; /* borrowed; its matrices are left out. NULL: all is AdamW's */
};
/* What a gradient of this norm is scaled by. */
float optimizer_scale(const struct optimizer *o, double norm);
/* One update of w[n]; step counts from 1. norm: of the whole gradient, before the clip. */
void optimizer_step(const struct optimizer *o, float *w, const float *grad, double norm, double lr, int64_t step);

#endif
