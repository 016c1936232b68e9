/* residency: who has the weights of a part, and where its gradients go. Forward and backward ask for a part (params.h)
 * before they use it and say when they are through, so that a part may live on other machines, on disk, or in a buffer
 * that the next one reuses. In one process there is none (NULL): weights stay where they are.
 *
 *     forward   enter(0, WEIGHTS) leave(0)   enter(1, WEIGHTS) leave(1) …   enter(L + 1, WEIGHTS) leave(L + 1)
 *     training  the same up to layer L, then   enter(L + 1, WEIGHTS | GRADIENT) leave(…)
 *               enter(L, WEIGHTS | GRADIENT) leave(…) …   enter(0, GRADIENT) leave(0)
 *
 * Losses or logits that are asked for after the body, as in a validation, enter part L + 1 once more by themselves.
 * A tied head needs part 0 together with part L + 1. The order is fixed, so that who fetches can look ahead.
 * Opening a transformer asks for part 1 and part L + 1 once. Nothing here can fail: a residency that loses its source
 * remembers that, and its owner asks it after the call. */
#ifndef MDM_MODEL_RESIDENCY_H
#define MDM_MODEL_RESIDENCY_H
#include "model/weights.h"

enum part_use { PART_WEIGHTS = 1, PART_GRADIENT = 2 };

struct resident {
    const struct weight
        *weights;    /* one per row of the part; types as in the weights that the transformer was opened with */
    float *gradient; /* added to, laid out as the part in the flat buffer */
};

struct residency {
    void *context;
    /* What *r gets must stay until leave() with the same arguments. */
    void (*enter)(void *context, int part, int uses, struct resident *r);
    void (*leave)(void *context, int part, int uses);
};

#endif
