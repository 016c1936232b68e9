/* bleu: the n-grams of both texts are sorted, so that matches are counted by walking the two lists side by side. */
#include "eval/bleu.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

enum { ORDERS = 4 };

struct gram {
    int32_t c[ORDERS]; /* code points; those beyond the order are 0 */
};

static int compare(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct gram)); /* any order will do, as long as it is one */
}

/* Code points of s[n], -1 for an ill-formed part. */
static int64_t characters(int32_t *out, const char *s, int64_t n) {
    int64_t k = 0;
    for (int64_t i = 0; i < n;) i += utf8_next(s + i, n - i, &out[k++]);
    return k;
}

/* The sorted n-grams of one order; how many. */
static int64_t grams(struct gram *out, const int32_t *c, int64_t n, int order) {
    const int64_t count = n < order ? 0 : n - order + 1;
    for (int64_t i = 0; i < count; i++) {
        out[i] = (struct gram){{0}};
        memcpy(out[i].c, c + i, (size_t)order * sizeof *c);
    }
    qsort(out, (size_t)count, sizeof *out, compare);
    return count;
}

/* n-grams that both have, each as often as the one that has it less often. */
static int64_t matches(const struct gram *a, int64_t n, const struct gram *b, int64_t m) {
    int64_t count = 0;
    for (int64_t i = 0, j = 0; i < n && j < m;) {
        const int order = compare(&a[i], &b[j]);
        count += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    return count;
}

int bleu_characters(double *score, const char *reference, int64_t n, const char *hypothesis, int64_t m,
                    struct err *err) {
    int32_t *c = mem_alloc(n + m, sizeof *c, "characters", err);
    struct gram *g = c ? mem_alloc(n + m, sizeof *g, "n-grams", err) : NULL;
    if (g) {
        const int64_t nr = characters(c, reference, n), nh = characters(c + n, hypothesis, m);
        bool any = false; /* is there a character of the reference in it? */
        double sum = 0;
        for (int order = 1; order <= ORDERS; order++) {
            const int64_t there = grams(g, c, nr, order), here = grams(g + n, c + n, nh, order);
            const int64_t common = matches(g, there, g + n, here);
            if (order == 1) any = common > 0;
            sum += log(common > 0 ? (double)common / (double)here : DBL_MIN) / ORDERS;
        }
        const double penalty = nh > nr || nh == 0 ? 1 : exp(1 - (double)nr / (double)nh);
        *score = any ? penalty * exp(sum) : 0;
    }
    mem_free(c);
    mem_free(g);
    return g ? 0 : -1;
}
