/* transformer: the network of every shape (docs/model.md), forward and backward over ragged batches.
 *
 *     struct transformer *m;
 *     transformer_open(&m, &weights, &settings, &err);
 *     transformer_body(m, &batch);
 *     transformer_head_use(m, rows, count, use, context);     // blocks of logits; or transformer_row_losses()
 *
 * A batch is tokens plus sequence starts; nothing is padded, so a sequence's result does not depend on its companions.
 * Only wanted rows reach the head (and the last layer's attention output and MLP). A row is wanted for the logits of its
 * own token: of a model whose logits are shifted by one the row before it is run, the caller need not know. Activations
 * and packed weights are allocated at open; what products need besides is reserved there. */
#ifndef MDM_MODEL_TRANSFORMER_H
#define MDM_MODEL_TRANSFORMER_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"
#include "compute/linear.h"
#include "model/residency.h"

struct err;
struct kvstore;
struct transformer;

struct batch {
    const int32_t *tokens;    /* [n], each < rows of the embedding */
    const int64_t *starts;    /* [nseq + 1]; starts[0] = 0, starts[nseq] = n; each length in 1 … block_size */
    const int64_t *wanted;    /* ascending rows whose logits are wanted; NULL: all */
    int64_t n, nseq, nwanted; /* nwanted is ignored when wanted is NULL */
    /* [nseq], each may be NULL; NULL: none. A sequence with a past stands behind it and attends to it too; it may have no
     * rows, and nseq <= max_rows then. Where logits are shifted its first row cannot be wanted: the row before it, of the
     * past, would be needed. Inference only. */
    struct kvstore *const *past;
    bool append; /* write the rows' keys and values into the stores (kvstore_commit() keeps them): no two alike then */
};

struct transformer_settings {
    enum dtype precision;              /* of matmul inputs and saved activations */
    int64_t max_rows;                  /* largest n of a batch */
    bool training;                     /* keep activations; gradients */
    bool recompute;                    /* training: keep only each layer's input, compute the layer again in backward */
    const struct residency *residency; /* who has the weights and takes gradients; NULL: they stay where they are */
};

/* weights are borrowed and must outlive m. */
int transformer_open(struct transformer **m, const struct weights *w, const struct transformer_settings *s,
                     struct err *err);
void transformer_close(struct transformer *m); /* NULL is fine */
/* What transformer_open() would allocate with these settings: all that grows with model or rows. */
int64_t transformer_measure(const struct weights *w, const struct transformer_settings *s, struct err *err);
/* After the flat buffer changed (an optimizer step): refresh packed copies. */
void transformer_refresh(struct transformer *m);

/* For tests and measurements, all of it at once: logits[nwanted, V] f32. */
void transformer_logits(struct transformer *m, const struct batch *b, float *logits);
/* The network up to the normed rows; then, for inference, blocks of the logits of wanted rows rows[count], in that order:
 * see linear_forward_use(). */
void transformer_body(struct transformer *m, const struct batch *b);
void transformer_head_use(struct transformer *m, const int64_t *rows, int64_t count, linear_use *use, void *context);
/* Cross-entropy of each wanted row against its target after transformer_body (no gradient). loss[nwanted]. */
void transformer_row_losses(struct transformer *m, const int32_t *targets, float *loss);

/* Forward and backward of Σ weight[i]·CE(wanted row i, targets[i]); gradients are added to grad (flat, as params; NULL
 * with a residency). Returns the sum. */
double transformer_train(struct transformer *m, const struct batch *b, const int32_t *targets, const float *weight,
                         float *grad);

/* FLOPs of the products that a training step runs on this batch, attention included: three times forward, where the head
 * and, but for q/k/v, the last layer run for the wanted rows alone. */
double transformer_train_flops(const struct weights *w, const struct batch *b);

#endif
