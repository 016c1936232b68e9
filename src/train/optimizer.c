/* optimizer: the scalars of one step; the loops over elements are ops_adamw() and muon.c. */
#include "train/optimizer.h"

#include <math.h>

#include "compute/ops.h"
#include "train/muon.h"

void optimizer_step(const struct optimizer *o, float *w, const float *grad, double norm, double lr, int64_t step) {
    const double scale = o->clip > 0 ? o->clip / (norm + 1e-6) : 1; /* 1e-6 as in torch.nn.utils.clip_grad_norm_ */
    const struct adamw s = {.lr = (float)lr,
                            .beta1 = (float)o->beta1,
                            .beta2 = (float)o->beta2,
                            .eps = (float)o->eps,
                            .weight_decay = (float)o->weight_decay,
                            .grad_scale = (float)(scale < 1 ? scale : 1),
                            .correction1 = (float)(1 - pow(o->beta1, (double)step)),
                            .correction2 = (float)(1 - pow(o->beta2, (double)step))};
    int64_t at = 0;
    for (int i = 0; o->muon && i < o->muon->count; i++) {
        const struct muon_matrix *a = &o->muon->v[i];
        ops_adamw(w + at, o->m + at, o->v + at, grad + at, a->offset - at, &s);
        at = a->offset;
        muon_step(o->muon, a, w + at, o->m + at, grad + at, s.grad_scale, lr, o->weight_decay);
        at += a->rows * a->cols;
    }
    ops_adamw(w + at, o->m + at, o->v + at, grad + at, o->n - at, &s);
}
