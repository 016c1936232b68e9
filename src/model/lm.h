/* lm: a language model ready for use: weights and the tokenizer that belongs to them.
 *
 *     struct lm lm;
 *     if (lm_open(&lm, &(struct lm_args){.weights = "run", .threads = 2, .precision = DTYPE_BF16}, true, &err) < 0) …
 *     lm_close(&lm);
 */
#ifndef MDM_MODEL_LM_H
#define MDM_MODEL_LM_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"
#include "model/weights.h"

struct bytes;
struct tokenizer;

struct lm_args {
    const char *weights;   /* file or folder */
    const char *name;      /* of a model or config.json; NULL: the config beside the weights */
    const char *tokenizer; /* file or folder; NULL: the one beside the weights */
    int family;            /* enum family: what the model must be */
    int precision;         /* enum dtype: of products and activations */
    int64_t threads;       /* 0: all cores */
};

struct lm {
    struct weights weights;
    struct tokenizer *tokenizer; /* NULL: none named, none found */
    enum dtype precision;
};

/* Can t be the tokenizer of the model in `weights`? Not with more ids, nor where both begin and end are others (two tokenizers
 * of one size); one of these may be: what ends a chat is not what ended the texts before. */
int lm_check_tokenizer(const struct config *c, const struct tokenizer *t, const char *weights, struct err *err);
/* Starts compute/ too. tokenizer_needed: not finding one is an error. */
int lm_open(struct lm *m, const struct lm_args *a, bool tokenizer_needed, struct err *err);
void lm_close(struct lm *m);
/* The id that ends what it writes: the config's, the tokenizer's (-1: it has none), without one the published models'. */
int32_t lm_end_id(const struct lm *m);
/* Appends the text of ids without special tokens and without what the tokenizer does not know: masks, the padding of the
 * vocabulary. */
int lm_decode(const struct lm *m, const int32_t *ids, int64_t n, struct bytes *out, struct err *err);

#endif
