/* engine: a model and the batch being put together for it. The scheduler and likelihoods add sequences, each with the
 * rows whose choices they want, until the batch is full, and run it; guidance happens on the way.
 *
 *     engine_begin(&e);
 *     while (more && (at = engine_add(&e, &sequence)) >= 0) fill(e.want + at, sequence.nrows);
 *     engine_run(&e);                       // e.choice[at …] of each
 *
 * With cfg > 0 a sequence runs a second time in the same batch with its prompt masked, and its choices are taken from
 * the guided logits. All memory is allocated at opening. */
#ifndef MDM_INFER_ENGINE_H
#define MDM_INFER_ENGINE_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/choose.h"
#include "compute/kernels.h"

struct err;
struct kvstore;
struct weights;
struct transformer;

struct engine_settings {
    enum dtype precision;
    int64_t max_rows; /* tokens of one forward, the guided copies included */
    bool guided;      /* cfg > 0 will be used */
};

struct engine {
    const struct weights *weights; /* borrowed; must outlive the engine */
    struct transformer *model;
    struct engine_settings set;
    int64_t V;        /* numbers in a row of logits */
    int64_t id_end;   /* ids are below: rows of the embedding */
    int64_t forwards; /* batches run since the opening */
    int64_t rows;     /* and the tokens in them */
    /* the batch */
    int32_t *tokens;       /* [max_rows] */
    int64_t *starts;       /* [max_rows + 1] */
    int64_t *wanted;       /* [max_rows] */
    struct kvstore **past; /* [max_rows], NULL for those without */
    int64_t n, nseq, nwanted;
    bool has_past, branch;
    /* Of guided sequences at [0, nguided), of the others at [max_rows, max_rows + nplain). */
    struct choose_row *want;
    struct choice *choice;
    int64_t *head; /* [2·max_rows]: which wanted rows they are; pairs at the front, single ones from max_rows on */
    int64_t nguided, nplain;
    void *scratch;
};

/* A sequence of the batch. */
struct engine_sequence {
    const int32_t *ids; /* [n] */
    int64_t n;
    struct kvstore *past; /* what stands before them, NULL: nothing. They are appended; kvstore_commit() keeps them */
    bool branch; /* they are not appended, so that others may go on from the same past: all of a batch or none */
    const uint8_t *prompt; /* [n]: 1 where guidance masks; may be NULL when cfg is 0 */
    double cfg;
    const int64_t *rows; /* [nrows] rows of it whose choices are wanted, ascending */
    int64_t nrows;
};

/* Rows that hold `nseq` sequences of `length` at once, but not more than is of use; at least one of them. */
int64_t engine_rows(int64_t nseq, int64_t length, bool guided);
int engine_open(struct engine *e, const struct weights *w, const struct engine_settings *s, struct err *err);
void engine_close(struct engine *e); /* of a zeroed engine: fine */

/* Can a sequence of n tokens ever be added? One line about `what` if not. */
int engine_check_length(const struct engine *e, int64_t n, const char *what, struct err *err);
/* Are all ids rows of the embedding? */
int engine_check_ids(const struct engine *e, const int32_t *ids, int64_t n, const char *what, struct err *err);
/* The row whose logits are the distribution of the token at `position` of a sequence, for an arm at least 1. (That
 * Dream's logits are shifted is transformer.h's affair.) */
int64_t engine_row_of(const struct engine *e, int64_t position);

void engine_begin(struct engine *e);
/* Would a sequence of n tokens fit into the batch? */
bool engine_has_room(const struct engine *e, int64_t n, double cfg);
/* The place of its rows in `want`, which the caller fills, and in `choice`. -1: the batch is full, run it first. */
int64_t engine_add(struct engine *e, const struct engine_sequence *s);
/* More choices of the `nrows` rows that a sequence of this batch has at `at`: where they shall be, or -1 as above. */
int64_t engine_again(struct engine *e, int64_t at, int64_t nrows);
/* Are the rows whose choices begin at `at` these ones of the sequence that starts at token `start`? */
bool engine_wants_rows(const struct engine *e, int64_t at, int64_t start, const int64_t *rows, int64_t nrows);
/* An empty batch is fine. The batch stays until engine_begin(). */
void engine_run(struct engine *e);

#endif
