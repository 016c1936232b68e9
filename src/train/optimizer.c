/* optimizer: the scalars of one step; the loop over elements is ops_adamw(). */
#include "train/optimizer.h"

#include <math.h>

#include "base/num.h"
#include "compute/ops.h"
#include "train/muon.h"

float optimizer_scale(const struct optimizer *o, double norm) {
    const double scale = o->clip > 0 ? o->clip / (norm + 1e-6) : 1; /* 1e-6 as in torch.nn.utils.clip_grad_norm_ */
    return (float)(scale < 1 ? scale : 1);
}

void optimizer_step(const struct optimizer *o, float *w, const float *grad, double norm, double lr, int64_t step) {
    const struct adamw s = {.lr = (float)lr,
                            .beta1 = (float)o->beta1,
                            .beta2 = (float)o->beta2,
                            .eps = (float)o->eps,
                            .weight_decay = (float)o->weight_decay,
                            .grad_scale = optimizer_scale(o, norm),
                            .correction1 = (float)(1 - pow(o->beta1, (double)step)),
                            .correction2 = (float)(1 - pow(o->beta2, (double)step))};
    int64_t at = 0;
    for (int i = 0; o->muon && i < o->muon->count; i++) {
        const struct muon_matrix *a = &o->muon->v[i];
        const int64_t begin = min64(a->offset - o->first, o->n), end = a->offset + a->rows * a->cols - o->first;
        if (begin > at) ops_adamw(w + at, o->m + at, o->v + at, grad + at, begin - at, &s);
        at = max64(at, min64(end, o->n));
    }
    ops_adamw(w + at, o->m + at, o->v + at, grad + at, o->n - at, &s);
}
