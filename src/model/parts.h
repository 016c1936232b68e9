/* parts: a model's weights ready for products, part by part (params.h). All loops over parameters that the network needs
 * are here: they walk the table. */
#ifndef MDM_MODEL_PARTS_H
#define MDM_MODEL_PARTS_H
#include "compute/linear.h"
#include "model/residency.h"

struct part { /* of each role that the part has; NULL where it has none */
    struct linear linear[PARAM_ROLES];
    const float *vector[PARAM_ROLES][2]; /* norm weights; [1]: biases of norms and linears */
    struct weight table[PARAM_ROLES];    /* embeddings */
    float *gradient[PARAM_ROLES][2];     /* where it goes; valid when entered for it */
};

struct parts {
    const struct weights *w;
    const struct residency *residency;
    enum dtype t; /* of activations */
    int count;    /* parts of the model */
    struct part *v;
    void **packed; /* per row of the table: memory of its linear's packed form */
    float *grad;   /* without a residency: the flat gradient, set before entering for it */
};

/* With a residency all layers share one place, filled when they are entered. */
int parts_open(struct parts *p, const struct weights *w, const struct residency *residency, enum dtype t,
               struct err *err);
void parts_close(struct parts *p);
/* Cuts the memory of packed weights off *at (mem_cut()). */
void parts_layout(struct parts *p, char **at);
/* Makes everything ready that can be before it is entered. */
int parts_bind(struct parts *p, struct err *err);
/* After the weights changed. */
void parts_refresh(struct parts *p);

const struct part *parts_enter(struct parts *p, int part, int uses);
void parts_leave(struct parts *p, int part, int uses);

#endif
