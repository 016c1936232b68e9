/* bootstrap: the standard error of a perplexity as lm-evaluation-harness 0.4.4 draws it, number by number. */
#ifndef MDM_EVAL_BOOTSTRAP_H
#define MDM_EVAL_BOOTSTRAP_H
#include <stdint.h>

struct err;

/* The standard deviation of exp(−mean) over 1000 * `rounds` draws of n of the n log-likelihoods with replacement (NaN for
 * n < 2). The harness has 100 rounds; round i draws with Python's random.Random(i). */
enum { BOOTSTRAP_ROUNDS = 100 };
int bootstrap_perplexity(double *error, const double *loglik, int64_t n, int rounds, struct err *err);

#endif
