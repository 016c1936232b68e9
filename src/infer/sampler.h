/* sampler: one way to write the open places of a sequence, as a state machine: which positions it wants next, and what it
 * does with what the model would write there. infer/scheduler.h runs many at once, each with settings of its own.
 *
 * A sampler is one file, src/infer/sampler_NAME.c, that defines `const struct sampler sampler_NAME`, and a line in
 * sampler.c. It keeps nothing but what is in the sequence, touches no logits (compute/choose.h), and draws random numbers
 * by (seed, sample, step, position) alone, so that company changes nothing.
 *
 * A position is open while its id is the mask id: nothing else is remembered between steps, as in the published code (a
 * head that has a row for the mask token may write it, and the position stays open). */
#ifndef MDM_INFER_SAMPLER_H
#define MDM_INFER_SAMPLER_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/choose.h"
#include "model/config.h"

struct kvstore;

/* What a caller asks for. The ids are the caller's, and so are the callbacks' contexts. */
struct request {
    const struct sampler *sampler;
    int32_t *ids;          /* [room]; holds the result in the end */
    int64_t n, room;       /* tokens there are; may become: only a causal sampler adds to them */
    const uint8_t *prompt; /* [n]: 1 on tokens that guidance takes away; NULL: all that are no masks at the start */
    int64_t steps;
    double temperature, cfg;
    uint64_t seed, sample; /* name its random numbers */
    int32_t end_id;        /* causal: the last token to be written; -1: none is */
    /* After each step, also one that changed nothing; may cancel, and may add requests. NULL: none. */
    void (*step)(struct request *r);
    void *ctx;
    _Atomic bool cancelled; /* by anybody, any thread, at any time: it leaves before its next step */
    /* so far: */
    bool done;            /* has left the scheduler, */
    bool lost;            /* since the model gave no token a number: what it then wanted to write is not written */
    int64_t steps_done;   /* the step callback sees its own counted */
    int64_t nfe;          /* as published: steps, doubled by guidance */
    int64_t evaluations;  /* forwards really run, doubled too; steps that write nothing need none */
    int64_t written;      /* tokens */
    struct request *next; /* the scheduler's */
};

struct sequence { /* a request that is being run */
    struct request *r;
    int64_t step; /* r->steps_done: the number of the step it is at */
    int32_t mask;
    uint8_t *prompt;      /* [n] its own, when the request has none and is guided */
    struct kvstore *past; /* of a causal sampler: the tokens before those of the next forward */
    int64_t at, n;        /* its choices in the batch */
};

struct sampler {
    const char *name;
    enum family family;
    enum confidence confidence; /* that its choices carry */
    bool causal; /* adds tokens behind the others: what is written stays, so its keys and values are kept */
    /* Positions whose choices the step needs, ascending, into positions[n]; how many. 0: the step needs no forward. */
    int64_t (*want)(const struct sequence *s, int64_t *positions);
    /* choices[n] of these positions; may reorder them. Called for steps with none, too. */
    void (*take)(struct sequence *s, struct choice *choices, int64_t n);
    /* Is it finished? NULL: after r->steps. */
    bool (*ended)(const struct sequence *s);
};

extern const struct sampler *const samplers[];        /* NULL-terminated: those that people may choose by name */
const struct sampler *sampler_find(const char *name); /* NULL: none of them */
const char *sampler_names(void);                      /* with '|' between: for option tables */
extern const struct sampler sampler_ancestral, sampler_confidence, sampler_margin, sampler_entropy; /* mdm */
extern const struct sampler sampler_causal; /* arm: its only one */

/* ---- for samplers ---- */

/* All open positions, ascending. */
int64_t sampler_open_positions(const struct sequence *s, int64_t *positions);
void sampler_write(struct sequence *s, const struct choice *c);
/* Writes the `count` choices of the highest confidence; equal ones by rising position. */
void sampler_write_best(struct sequence *s, struct choice *choices, int64_t n, int64_t count);

/* times[i] of `steps` steps, i in 0 … steps: linspace(1, 1e-5, steps + 1) in float32, as in the published code. */
float sampler_time(int64_t i, int64_t steps);
/* The share of the open positions that step i writes: 1 − times[i + 1]/times[i], all in the last step. */
float sampler_share(int64_t i, int64_t steps);

#endif
