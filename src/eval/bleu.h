/* bleu: BLEU-4 over characters (Papineni et al., "BLEU: a method for automatic evaluation of machine translation",
 * 2002), one reference, no smoothing: what nltk 3.10's sentence_bleu gives for two Python strings. */
#ifndef MDM_EVAL_BLEU_H
#define MDM_EVAL_BLEU_H
#include <stdint.h>

struct err;

/* The score of hypothesis[m] against reference[n], both UTF-8 (an ill-formed part counts as one character). As in nltk,
 * a hypothesis without one character of the reference scores 0, and otherwise an order of n-grams without a match has
 * the precision DBL_MIN: the score is then about 1e-77, not 0. */
int bleu_characters(double *score, const char *reference, int64_t n, const char *hypothesis, int64_t m,
                    struct err *err);

#endif
