/* settings: the table of every training's settings. */
#include "train/settings.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/num.h"

const struct training training_defaults = {.lr = 2e-4,
                                           .min_lr = NAN,
                                           .beta1 = 0.9,
                                           .beta2 = 0.95,
                                           .eps = 1e-8,
                                           .weight_decay = 0.1,
                                           .clip = 1.0,
                                           .momentum = 0.95,
                                           .batch = 256,
                                           .save_every = 5000,
                                           .eval_every = 1000,
                                           .keep = 2};

const char *const recipe_names[] = {"published", "fast", NULL};

const char *recipe_list(void) {
    static char names[OPT_NAMES];
    return opt_names(names, recipe_names, sizeof *recipe_names);
}

/* What of all that bench/recipes.sh tried lets a model of family mdm learn most for its compute; twice the rate did better
 * still on the smallest model, on larger ones it is not known. */
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
#define FAST(_) _("optimizer", "muon") _("bell", "1") _("lr", TEXT(RECIPE_FAST_LR))
#define ROW(name, value) {name, value},
#define WORDS(name, value) " --" name " " value
static const struct { const char *name, *value; } fast[] = {FAST(ROW)};

/* A moment that forgets nothing never leaves 0. */
#define BELOW_ONE 0.999999
/* Smaller: a gradient whose square is 0 in f32 makes a step of any length, and no gradient at all is 0 / 0. */
#define LEAST_EPS 1e-18

int training_table(struct setting out[TRAINING_SETTINGS], struct training *a) {
    const struct setting rows[TRAINING_SETTINGS] = {
        {{"batch", OPT_INT, &a->batch, "N", "sequences per step", .min = 1, .max = TRAINING_BATCH}, SETTING_FIXED},
        {{"micro-batch", OPT_INT, &a->micro_batch, "N", "sequences per forward pass; 0: by memory", .min = 0,
          .max = 1e6},
         SETTING_FREE},
        {{"sum-groups", OPT_INT, &a->sum_groups, "K",
          "the same bits from any number of processes: the gradient is that of K groups of the batch, each one forward "
          "pass, added in one order; 0: a group for each process",
          .min = 0, .max = 1e6},
         SETTING_FIXED},
        {{"recipe", OPT_CHOICE, &a->recipe, recipe_list(),
          "fast, for mdm: as if the command line said" FAST(
              WORDS) "; published: their defaults, whatever --config says (docs/training.md)"},
         SETTING_START},
        {{"shard", OPT_CHOICE, &a->shard, "none|optimizer|full",
          "what the processes divide among them: nothing, moments and master weights, or weights and gradients too; "
          "results do not depend on it; with --sum-groups every bit is the same"},
         SETTING_FREE},
        {{"wire-gradients", OPT_CHOICE, &a->wire, "f32|bf16",
          "the type of gradients on their way between processes: bf16 halves their bytes, and rounds every sum of the "
          "step's groups"},
         SETTING_FIXED},
        {{"lr", OPT_REAL, &a->lr, "X", "peak learning rate", .min = 0, .max = 10}, SETTING_FIXED},
        {{"min-lr", OPT_REAL, &a->min_lr, "X", "last learning rate; not given: a tenth of --lr", .min = 0, .max = 10},
         SETTING_FIXED},
        {{"warmup", OPT_INT, &a->warmup, "N", "warm-up steps; 0: max(100, 1 %), at most a tenth of the run", .min = 0,
          .max = 1e12},
         SETTING_FIXED},
        {{"decay", OPT_REAL, &a->decay, "X",
          "share of the steps, the last ones, in which the learning rate falls in a line; before, it stays at its "
          "peak; 0: "
          "it falls from the warm-up on, as a cosine",
          .min = 0, .max = 1},
         SETTING_FIXED},
        {{"stratified", OPT_FLAG, &a->stratified, NULL, "mdm: the noise levels of a step are spread evenly"},
         SETTING_FIXED},
        {{"complementary", OPT_FLAG, &a->complementary, NULL,
          "mdm: each sequence twice in a step, what one does not mask masked in the other; --batch counts both"},
         SETTING_FIXED},
        {{"bell", OPT_REAL, &a->bell, "X",
          "mdm: noise levels near the middle more often; 0: all as often, 1: density of sin(pi t), 2: "
          "narrower",
          .min = 0, .max = 2},
         SETTING_FIXED},
        {{"flatten", OPT_REAL, &a->flatten, "X",
          "mdm: a token masked with probability p weighs p^(X-1); 0: the bound of the likelihood, 1: plain "
          "cross-entropy",
          .min = 0, .max = 1},
         SETTING_FIXED},
        {{"optimizer", OPT_CHOICE, &a->optimizer, "adamw|muon", "muon: for the layers' matrices; the rest by AdamW"},
         SETTING_FIXED},
        {{"momentum", OPT_REAL, &a->momentum, "X", "Muon; below 1", .min = 0, .max = BELOW_ONE}, SETTING_FIXED},
        {{"beta1", OPT_REAL, &a->beta1, "X", "AdamW; below 1", .min = 0, .max = BELOW_ONE}, SETTING_FIXED},
        {{"beta2", OPT_REAL, &a->beta2, "X", "AdamW; below 1", .min = 0, .max = BELOW_ONE}, SETTING_FIXED},
        {{"eps", OPT_REAL, &a->eps, "X", "AdamW", .min = LEAST_EPS, .max = 1}, SETTING_FIXED},
        {{"weight-decay", OPT_REAL, &a->weight_decay, "X", "on every weight", .min = 0, .max = 10}, SETTING_FIXED},
        {{"clip", OPT_REAL, &a->clip, "X", "largest gradient norm; 0: none", .min = 0, .max = 1e9}, SETTING_FIXED},
        {{"precision", OPT_CHOICE, &a->precision, "bf16|f32", "of matmul inputs"}, SETTING_FIXED},
        {{"recompute", OPT_FLAG, &a->recompute, NULL, "save memory: compute activations again in backward"},
         SETTING_FREE},
        {{"seed", OPT_INT, &a->seed, "N", "of weights, masks and order", .min = 0, .max = TRAINING_SEED},
         SETTING_FIXED},
        {{"threads", OPT_INT, &a->threads, "N", "0: all cores; results do not depend on it", .min = 0,
          .max = CPU_THREADS},
         SETTING_FREE},
        {{"save-every", OPT_INT, &a->save_every, "N", "steps between checkpoints", .min = 1, .max = 1e12},
         SETTING_FREE},
        {{"keep", OPT_INT, &a->keep, "N", "checkpoints to keep", .min = 1, .max = 1e6}, SETTING_FREE},
        {{"eval-every", OPT_INT, &a->eval_every, "N", "steps between validations", .min = 1, .max = 1e12},
         SETTING_FREE},
        {{"mc", OPT_INT, &a->mc, "N", "mask draws per validation sequence; 0: as many as 5 % of the time allow",
          .min = 0, .max = 1e6},
         SETTING_FREE},
        {{"valid-sequences", OPT_INT, &a->valid_sequences, "N",
          "validation sequences, spread over the text held out; 0: as many as 5 % of the time allow", .min = 0,
          .max = 1e9},
         SETTING_FREE}};
    memcpy(out, rows, sizeof rows);
    return TRAINING_SETTINGS;
}

int training_recipe(struct opt_given *given, const struct training *a, struct err *err) {
    for (size_t i = 0; opt_given(given, "recipe") && i < sizeof fast / sizeof *fast; i++)
        if (opt_imply(given, fast[i].name, a->recipe == 1 ? fast[i].value : NULL, err) < 0) return -1;
    return 0;
}

struct trainer_settings training_settings(const struct training *a, int64_t steps) {
    return (struct trainer_settings){.precision = a->precision == 0 ? DTYPE_BF16 : DTYPE_F32,
                                     .seed = (uint64_t)a->seed,
                                     .batch = a->batch,
                                     .micro_batch = a->micro_batch,
                                     .sum_groups = a->sum_groups,
                                     .shard = (enum shard)a->shard,
                                     .wire = a->wire == 0 ? DTYPE_F32 : DTYPE_BF16,
                                     .schedule = {.steps = steps,
                                                  .warmup = a->warmup > 0 ? a->warmup : schedule_warmup(steps),
                                                  .lr = a->lr,
                                                  .min_lr = isnan(a->min_lr) ? a->lr / 10 : a->min_lr,
                                                  .decay = a->decay},
                                     .stratified = a->stratified,
                                     .complementary = a->complementary,
                                     .bell = a->bell,
                                     .flatten = a->flatten,
                                     .muon = a->optimizer == 1,
                                     .momentum = a->momentum,
                                     .beta1 = a->beta1,
                                     .beta2 = a->beta2,
                                     .eps = a->eps,
                                     .weight_decay = a->weight_decay,
                                     .clip = a->clip,
                                     .recompute = a->recompute,
                                     .save_every = a->save_every,
                                     .eval_every = a->eval_every,
                                     .keep = a->keep,
                                     .valid_examples = a->valid_sequences,
                                     .mc = a->mc};
}

int64_t training_views(const struct training *a) {
    return a->complementary ? 2 : 1;
}

int training_check(const struct training *a, const struct trainer_settings *s, struct err *err) {
    if (s->schedule.min_lr > s->schedule.lr)
        return err_set(err, "--min-lr %g: the last learning rate is above the peak, --lr %g", s->schedule.min_lr,
                       s->schedule.lr);
    if (a->warmup <= s->schedule.steps) return 0;
    return err_set(err, "--warmup %lld: the run has %lld step%s", (long long)a->warmup, (long long)s->schedule.steps,
                   plural(s->schedule.steps));
}
