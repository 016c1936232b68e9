/* sampler: what samplers share: their table, times, and writing. */
#include "infer/sampler.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/opt.h"

const struct sampler *const samplers[] = {&sampler_ancestral, &sampler_confidence, &sampler_margin, &sampler_entropy,
                                          NULL};

const struct sampler *sampler_find(const char *name) {
    int i = 0;
    while (samplers[i] && strcmp(samplers[i]->name, name) != 0) i++;
    return samplers[i];
}

const char *sampler_names(void) {
    static char list[OPT_NAMES];
    const char *names[sizeof samplers / sizeof *samplers] = {NULL};
    for (int i = 0; samplers[i]; i++) names[i] = samplers[i]->name;
    return opt_names(list, names, sizeof *names);
}

int64_t sampler_open_positions(const struct sequence *s, int64_t *positions) {
    int64_t n = 0;
    for (int64_t i = 0; i < s->r->n; i++)
        if (s->r->ids[i] == s->mask) positions[n++] = i;
    return n;
}

void sampler_write(struct sequence *s, const struct choice *c) {
    s->r->ids[c->position] = c->id;
    s->r->written += c->id != s->mask;
}

void sampler_write_best(struct sequence *s, struct choice *choices, int64_t n, int64_t count) {
    if (count < n) choose_sort(choices, n);
    for (int64_t i = 0; i < count; i++) sampler_write(s, &choices[i]);
}

/* The fused multiply-add is part of it: that is how the published linspace rounds, on CPUs and GPUs alike. */
float sampler_time(int64_t i, int64_t steps) {
    const float first = 1, last = 1e-5f, stride = (last - first) / (float)steps;
    return i < (steps + 1) / 2 ? fmaf(stride, (float)i, first) : fmaf(-stride, (float)(steps - i), last);
}

float sampler_share(int64_t i, int64_t steps) {
    return i == steps - 1 ? 1.0f : 1.0f - sampler_time(i + 1, steps) / sampler_time(i, steps);
}
