/* generation: texts that a model writes after texts, many at a time on the scheduler.
 *
 *     generation_open(&g, &model, &settings, &err);
 *     generation_add(g, &pieces, sample, &err);           // any number
 *     if (generation_run(g, &err) == 0) generation_text(g, 0) …
 *     generation_drop(g, 0);
 *
 * A text depends on the settings, its own pieces and its sample's number alone. */
#ifndef MDM_EVAL_GENERATION_H
#define MDM_EVAL_GENERATION_H
#include <stdbool.h>
#include <stdint.h>
#include "infer/sampler.h"

struct chat;
struct err;
struct generation;
struct lm;

struct generation_settings {
    const struct sampler *sampler; /* arm: &sampler_causal */
    int64_t steps, length;         /* length: tokens in all, the prompt too */
    /* 2: what was written, its special tokens left out, becomes text again and with the prompt in front the prompt of a
     * second pass, whose text follows on a line of its own (arXiv 2410.18514's GSM8K). */
    int64_t passes;
    int64_t batch; /* texts that are expected to be written together */
    double temperature, cfg;
    bool begin; /* the begin id stands before each piece, as in fine-tuning */
    /* The text ends before the first end id, and before this mark ("": none; white space at its end does not count). NULL:
     * special tokens are left out of it, wherever they are. Borrowed. */
    const char *until;
    uint64_t seed;
};

/* The model is borrowed and needs its tokenizer. */
int generation_open(struct generation **out, const struct lm *m, const struct generation_settings *s, struct err *err);
void generation_close(struct generation *g); /* NULL is fine */
/* The prompt is the pieces (text/chat.h) one behind the other. 1 and -1 with err, and nothing was added: 1: it
 * leaves no room to write; -1: the model cannot go on from it, or no memory. */
int generation_add(struct generation *g, const struct chat *prompt, uint64_t sample, struct err *err);
int64_t generation_count(const struct generation *g);
/* Writes all texts. 1: a stop was asked for, and there are none. */
int generation_run(struct generation *g, struct err *err);
const char *generation_text(const struct generation *g, int64_t i); /* valid until generation_drop() */
double generation_seconds(const struct generation *g);              /* that the last run took for each text */
void generation_drop(struct generation *g, int64_t count); /* forgets prompts and texts from number `count` on */

#endif
