/* objective: turns examples into what the network trains on: inputs, wanted rows, targets and weights (docs/model.md,
 * "Objectives"). One of the two seams between MDM and ARM.
 *
 * MDM: t ~ U(0,1) per example; p = (1 − 1e-3)·t + 1e-3; a token behind the prompt is masked with probability p and
 * weighs 1/p. ARM: every token behind the prompt is predicted from those before it with weight 1.
 * Weights are divided by what the example's group has to predict: MDM b·longest − Σ prompts over its b examples, all
 * filled up to the longest; ARM the number of its predicted tokens; then by the number of groups of the step, so that
 * any split into micro-batches or ranks has the same gradient. MDM can drop prompts (`--cfg`): with that probability those
 * of a whole group become masks, after what is predicted has been settled, for guidance without a prompt.
 *
 * Four departures from the published objective (mdm alone, docs/training.md). The first two draw with less noise what
 * has the same expectation; bell and flatten weigh the levels of noise differently, which is another objective:
 *   strata          the t of the draws [k·strata, (k + 1)·strata) are one from each of as many equal parts of (0,1), in an
 *                   order of their own: each t is still uniform, and a step no longer has only large or small ones.
 *   complementary   draws 2k and 2k + 1 are a pair with t and 1 − t, and what one does not mask the other does. Each by
 *                   itself is distributed as ever. Their examples should be the same one: source_in_pairs().
 *   bell            t is u + bell·(acos(1 − 2u)/π − u) of a uniform u: 0 leaves it uniform, 1 is a density of π/2·sin(πt),
 *                   2 a narrower one. Weights do not make up for it (arXiv 2605.13026: levels in the middle teach most).
 *   flatten         a masked token weighs p^(flatten − 1) instead of 1/p, times what keeps the expected sum of all weights
 *                   under a uniform t (no bell).
 *                   0: the bound of the likelihood; 1: plain cross-entropy of masked tokens.
 *
 * All draws are functions of (seed, number of the draw), which in training is the number of the example in the run. */
#ifndef MDM_TRAIN_OBJECTIVE_H
#define MDM_TRAIN_OBJECTIVE_H
#include "base/rng.h"
#include "data/source.h"
#include "model/transformer.h"

#define OBJECTIVE_EPS 1e-3 /* smallest mask probability */

struct objective {
    enum family family;
    int32_t mask_id;
    uint64_t seed;
    double random_length;        /* probability that an example without prompt is cut to U{1 … its rows} */
    double drop;                 /* mdm: probability that the prompts of a group are masked */
    int64_t strata;              /* mdm: draws of a step, when their t are stratified; 0: they are independent */
    bool complementary;          /* mdm */
    double bell;                 /* mdm: 0 … 2 */
    double flatten;              /* mdm: 0 … 1 */
    int64_t step_groups;         /* groups that share one optimizer step: the mean's denominator */
    enum rng_purpose time, mask; /* RNG_TIME, RNG_MASK, or the validation pair */
};

struct prepared { /* a micro-batch under construction; arrays hold max_rows */
    struct batch batch;
    int32_t *ids; /* of the example that is being added */
    int32_t *tokens, *targets;
    int64_t *starts, *wanted;
    float *weight;
    int64_t max_rows;
    struct {            /* of the group of the example that was added last, so that it is measured once */
        int64_t number; /* -1: none yet */
        int64_t longest;
        double predicted;
    } group;
};

/* Rows of the network that the longest example of a source takes. */
int64_t objective_rows(enum family family, const struct source *s);
/* Room for any max_examples of the source. */
int prepared_open(struct prepared *p, enum family family, const struct source *s, int64_t max_examples,
                  struct err *err);
void prepared_close(struct prepared *p);
void prepared_clear(struct prepared *p);
/* Append example `number` of the source with the noise of draw `draw`. All examples since prepared_clear() are of one
 * objective and source. */
int objective_add(const struct objective *o, struct prepared *p, const struct source *s, int64_t number, uint64_t draw,
                  struct err *err);
/* Do its parts go together? One line in err when not. */
int objective_check(const struct objective *o, struct err *err);
/* Mean number of rows under random_length, for budgets. */
double objective_mean_length(int64_t length, double random_length);

#endif
