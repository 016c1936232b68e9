/* engine: a model and the batch being put together for it. Samplers and likelihoods add sequences, each with the rows
 * whose logits they want, until the batch is full, and get those logits by pieces; guidance happens on the way.
 *
 *     engine_begin(&e, cfg);
 *     while (more && engine_add(&e, ids, n, prompt, rows, nrows)) next();
 *     engine_run(&e, use, ctx);             // use(ctx, first, count, logits) in order of the wanted rows
 *
 * With cfg > 0 every sequence runs a second time in the same batch with its prompt masked (SPEC §5), and the logits
 * handed out are the guided ones. All memory is allocated at opening. */
#ifndef MDM_INFER_ENGINE_H
#define MDM_INFER_ENGINE_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"

struct err;
struct weights;
struct transformer;

struct engine_settings {
    enum dtype precision;
    int64_t max_rows; /* tokens of one forward, the guided copies included */
    bool guided;      /* cfg > 0 will be used */
};

enum { ENGINE_ROWS = 128 }; /* most rows of logits at a time */

struct engine {
    const struct weights *weights; /* borrowed; must outlive the engine */
    struct transformer *model;
    struct engine_settings set;
    int64_t V;        /* numbers in a row of logits */
    int64_t id_end;   /* ids are below: rows of the embedding */
    int64_t forwards; /* batches run since the opening */
    double cfg;
    int32_t *tokens; /* the batch: [max_rows] */
    uint8_t *prompt; /* [max_rows] */
    int64_t *starts; /* [max_rows + 1] */
    int64_t *wanted; /* [max_rows] */
    int64_t n, nseq, nwanted;
    float *logits, *other; /* [ENGINE_ROWS, V]; other: of the unprompted copies */
};

/* Rows that hold `nseq` sequences of `length` at once, but not more than is of use; at least one of them. */
int64_t engine_rows(int64_t nseq, int64_t length, bool guided);
int engine_open(struct engine *e, const struct weights *w, const struct engine_settings *s, struct err *err);
void engine_close(struct engine *e); /* of a zeroed engine: fine */

/* Can a sequence of n tokens ever be added? One line about `what` if not. */
int engine_check_length(const struct engine *e, int64_t n, const char *what, struct err *err);
/* Are all ids rows of the embedding? */
int engine_check_ids(const struct engine *e, const int32_t *ids, int64_t n, const char *what, struct err *err);

void engine_begin(struct engine *e, double cfg);
/* ids[n]; prompt[n]: 1 where guidance masks (may be NULL when cfg is 0); rows[nrows] ascending positions of the
 * sequence. false: the batch is full, run it first. */
bool engine_add(struct engine *e, const int32_t *ids, int64_t n, const uint8_t *prompt, const int64_t *positions,
                int64_t nrows);
/* logits[count, V] of the wanted rows first … first + count − 1. An empty batch is fine. The batch stays until
 * engine_begin(). */
void engine_run(struct engine *e, void (*use)(void *ctx, int64_t first, int64_t count, const float *logits), void *ctx);
/* loss[nwanted]: cross-entropy of every wanted row against its target. */
void engine_losses(struct engine *e, const int32_t *targets, float *loss);

#endif
