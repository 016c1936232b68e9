/* choose: what choosing from a row of logits costs, in blocks as the head gives them: V = 32000, one thread, by temperature
 * and kind of confidence.
 *
 *     build/bench/choose */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/rng.h"
#include "compute/choose.h"
#include "compute/kernels.h"

enum { N = 64, V = 32000, ROUNDS = 10 };

/* Every block has the same logits; choosing works in place. */
static double seconds(const struct choose_row *want, const float *logits, float *block, void *scratch) {
    static struct choice out[N];
    const double start = clock_seconds();
    for (int k = 0; k < ROUNDS; k++) {
        struct choose c;
        choose_begin(&c, want, N, V, false, scratch);
        for (int64_t b = 0; b < c.blocks; b++) {
            const int64_t count = min64(c.width, V - b * c.width);
            memcpy(block, logits, (size_t)(N * count) * sizeof *block);
            choose_block(&c, block, 0, N, b * c.width, count);
        }
        choose_end(&c, out);
    }
    return (clock_seconds() - start) / ROUNDS;
}

int main(void) {
    static const char *const names[] = {"none", "probability", "margin", "entropy"};
    static struct choose_row want[N];
    struct err err = {{0}};
    float *logits = mem_alloc(2 * N * V, sizeof *logits, "bench", &err);
    void *scratch = logits ? mem_alloc(choose_scratch(N, V), 1, "bench", &err) : NULL;
    if (!scratch || kernels_init(&err) < 0) {
        fprintf(stderr, "choose: %s\n", err.msg);
        return 2;
    }
    rng_normal(logits, N * V, 7, RNG_TEST, 1, 0);
    for (int64_t i = 0; i < N * V; i++) logits[i] *= 3;
    for (int hot = 0; hot < 2; hot++)
        for (int kind = 0; kind < 4; kind++) {
            for (uint32_t i = 0; i < N; i++)
                want[i] = (struct choose_row){
                    .position = i, .temperature = hot, .target = -1, .confidence = (enum confidence)kind};
            printf("temperature %d, confidence %-11s %7.1f us a row\n", hot, names[kind],
                   seconds(want, logits, logits + N * V, scratch) / N * 1e6);
        }
    mem_free(scratch);
    mem_free(logits);
    return 0;
}
