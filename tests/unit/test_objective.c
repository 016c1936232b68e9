/* The objective against the truth: every mask of a tiny case is enumerated, and how often it comes, what it weighs and
 * what gradient it gives are compared with the exact integral over t; both families, whole and of random length. Then
 * prompts and groups against hand computation. */
#include "train_help.h"

#include <math.h>

#include "model/transformer.h"
#include "train/objective.h"
#include "train_examples.h"

enum { TOKENS = 3, MASKS = 1 << TOKENS, DRAWS = 400000, MASK_ID = 64 };

static const struct example whole[] = {{.n = TOKENS, .prompt = 0}}, whole_arm[] = {{.n = TOKENS + 1, .prompt = 0}};

static struct objective objective(enum family family, double random_length) {
    return (struct objective){.family = family,
                              .mask_id = MASK_ID,
                              .seed = 11,
                              .random_length = random_length,
                              .step_groups = 1,
                              .time = RNG_TIME,
                              .mask = RNG_MASK};
}

/* The ways to draw noise and to weigh it, each of which leaves what is expected of masks and weights as it is said. */
static const struct way {
    double random_length;
    int64_t strata;
    bool complementary;
    double flatten, bell;
} ways[] = {{.random_length = 0}, {.random_length = 0.3},    {.strata = 512}, {.complementary = true}, {.flatten = 1},
            {.bell = 1},          {0.3, 512, true, 0.5, 0.5}};
enum { WAYS = sizeof ways / sizeof ways[0] };

static struct objective objective_of(const struct way *w) {
    struct objective o = objective(FAMILY_MDM, w->random_length);
    o.strata = w->strata;
    o.complementary = w->complementary;
    o.flatten = w->flatten;
    o.bell = w->bell;
    return o;
}

/* ∫ p^a (1 − p)^b dt with p = (1 − ε)·t + ε, by Simpson's rule in log p where p is small: exact to 1e-9. */
static double integral(double a, int b) {
    enum { STEPS = 20000 };
    const double low = log(OBJECTIVE_EPS), h = -low / STEPS;
    double sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        const double p = exp(low + h * i), f = pow(p, a + 1) * pow(1 - p, b);
        sum += f * (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2);
    }
    return sum * h / 3 / (1 - OBJECTIVE_EPS);
}

/* The same over the noise levels that a way has: u = (1 − cos πv)/2 makes the bell's density smooth. */
static double mean_of(const struct way *way, double a, int b) {
    enum { STEPS = 20000 };
    double sum = 0;
    if (way->bell == 0) return integral(a, b);
    for (int i = 0; i <= STEPS; i++) {
        const double v = (double)i / STEPS, u = (1 - cos(M_PI * v)) / 2;
        const double t = (1 - way->bell) * u + way->bell * v, p = (1 - OBJECTIVE_EPS) * t + OBJECTIVE_EPS;
        sum += pow(p, a) * pow(1 - p, b) * M_PI / 2 * sin(M_PI * v) * (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2);
    }
    return sum / STEPS / 3;
}

/* Share of draws that have this length. */
static double length_share(int64_t l, double random_length) {
    return random_length / TOKENS + (l == TOKENS ? 1 - random_length : 0);
}

struct seen { /* of one mask at one length */
    int64_t count, draw;
    double weight, weight2;
};

/* Prepares draw `number` of the case; returns the mask's bits. */
static int prepare(struct prepared *p, const struct objective *o, const struct source *s, int64_t number) {
    struct err err = {{0}};
    prepared_clear(p);
    must(objective_add(o, p, s, number, (uint64_t)number, &err), &err);
    int mask = 0;
    for (int64_t i = 0; p->batch.wanted && i < p->batch.nwanted; i++) mask |= 1 << p->batch.wanted[i];
    return mask;
}

/* The t of a draw, said again. */
static double time_of(const struct objective *o, int64_t number) {
    const int64_t views = o->complementary ? 2 : 1, draw = number / views, strata = o->strata / views;
    double t = rng_uniform(o->seed, RNG_TIME, (uint64_t)draw, 0);
    if (strata > 0)
        t = (t + (double)rng_permute((uint64_t)(draw % strata), (uint64_t)strata, o->seed, RNG_STRATUM,
                                     (uint64_t)(draw / strata))) /
            (double)strata;
    t = (1 - o->bell) * t + o->bell * acos(1 - 2 * t) / M_PI;
    return number % views ? 1 - t : t;
}

/* mean: of p^flatten. */
static void check_mdm_draw(const struct prepared *p, const struct objective *o, double mean, int mask, int64_t number) {
    const double p_mask = (1 - 1e-3) * time_of(o, number) + 1e-3;
    const double weight = pow(p_mask, o->flatten - 1) / mean / (double)p->batch.n;
    const uint64_t draw = (uint64_t)(o->complementary ? number / 2 : number);
    int64_t k = 0;
    for (int64_t i = 0; i < p->batch.n; i++) {
        const bool masked = mask >> i & 1;
        const double u = rng_uniform(o->seed, RNG_MASK, draw, (uint64_t)i);
        assert_int_equal(masked, (o->complementary && number % 2 ? 1 - u : u) < p_mask);
        assert_int_equal(p->batch.tokens[i], masked ? MASK_ID : few_id(number, i));
        if (!masked) continue;
        assert_int_equal(p->targets[k], few_id(number, i));
        if (fabs((double)p->weight[k] / weight - 1) > 1e-6)
            fail_msg("draw %lld: weight %.9g, expected %.9g", (long long)number, (double)p->weight[k], weight);
        k++;
    }
    assert_int_equal(k, p->batch.nwanted);
}

/* What came of every mask at every length, over many draws. */
static void collect(struct seen seen[TOKENS + 1][MASKS], const struct way *way) {
    struct err err = {{0}};
    struct few few = {.v = whole, .n = 1, .fails_at = -1};
    const struct source source = few_source(&few, 1);
    const struct objective o = objective_of(way);
    const double mean = integral(way->flatten, 0);
    struct prepared p;
    must(prepared_open(&p, FAMILY_MDM, &source, 1, &err), &err);
    for (int64_t number = 0; number < DRAWS; number++) {
        const int mask = prepare(&p, &o, &source, number);
        check_mdm_draw(&p, &o, mean, mask, number);
        struct seen *s = &seen[p.batch.n][mask];
        const double w = mask ? (double)p.weight[0] : 0;
        s->count++;
        s->draw = number;
        s->weight += w;
        s->weight2 += w * w;
    }
    prepared_close(&p);
}

/* Within five standard deviations. */
static void assert_mean(double sum, double sum2, double expected, const char *what, int l, int mask) {
    const double mean = sum / DRAWS, deviation = sqrt((sum2 / DRAWS - mean * mean) / DRAWS);
    if (!(fabs(mean - expected) <= 5 * deviation))
        fail_msg("%s of mask %d at length %d: %.6f, expected %.6f, standard deviation %.6f", what, mask, l, mean,
                 expected, deviation);
}

static void masks_and_weights(void **state) {
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        struct seen seen[TOKENS + 1][MASKS] = {{{0}}};
        const double flat = ways[k].flatten;
        collect(seen, &ways[k]);
        double everything = 0;
        for (int l = 1; l <= TOKENS; l++)
            for (int mask = 0; mask < 1 << l; mask++) {
                const struct seen *s = &seen[l][mask];
                const int masked = __builtin_popcount((unsigned)mask);
                const double share = length_share(l, ways[k].random_length);
                if (share == 0) {
                    assert_int_equal(s->count, 0);
                    continue;
                }
                assert_mean((double)s->count, (double)s->count, share * mean_of(&ways[k], masked, l - masked), "share",
                            l, mask);
                if (!masked) continue;
                const double weight = mean_of(&ways[k], masked - 1 + flat, l - masked) / integral(flat, 0) / l;
                assert_mean(s->weight, s->weight2, share * weight, "weight", l, mask);
                everything += s->weight / DRAWS * masked;
            }
        const double sum = mean_of(&ways[k], flat, 0) / integral(flat, 0);
        assert_true(fabs(everything - sum) <
                    0.02); /* every token counts once: E[Σ weights] = 1, but for a bell of flattened ones */
    }
}

/* Gradient along a fixed random direction of Σ weight·CE over a batch; the loss is *loss. */
static double slope(struct net *n, const struct batch *b, const int32_t *targets, const float *weight, double *loss) {
    double sum = 0;
    memset(n->grad, 0, (size_t)n->params.total * 4);
    *loss = transformer_train(n->model, b, targets, weight, n->grad);
    for (int64_t i = 0; i < n->params.total; i++)
        sum += (double)n->grad[i] * (rng_uniform(9, RNG_TEST, 0, (uint64_t)i) - 0.5);
    return sum;
}

/* The ids of example 0 for every number. */
static int one_text(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    (void)number;
    return few_read(context, 0, ids, e, err);
}

/* Per mask: loss and slope with all weights 1. */
static void enumerate(struct net *n, int l, double loss[MASKS], double along[MASKS]) {
    const int64_t starts[] = {0, l};
    const float ones[TOKENS] = {1, 1, 1};
    for (int mask = 1; mask < 1 << l; mask++) {
        int32_t tokens[TOKENS], targets[TOKENS];
        int64_t wanted[TOKENS];
        struct batch b = {.tokens = tokens, .starts = starts, .wanted = wanted, .n = l, .nseq = 1};
        for (int i = 0; i < l; i++) {
            tokens[i] = mask >> i & 1 ? MASK_ID : few_id(0, i);
            if (!(mask >> i & 1)) continue;
            targets[b.nwanted] = few_id(0, i);
            wanted[b.nwanted++] = i;
        }
        along[mask] = slope(n, &b, targets, ones, &loss[mask]);
    }
}

/* The mean over draws of loss and gradient is the exact sum over masks and t. The network sees one text all the time. */
static void check_gradient(const struct way *way) {
    struct err err = {{0}};
    struct few few = {.v = whole, .n = 1, .fails_at = -1};
    struct source source = few_source(&few, 1);
    const struct objective o = objective_of(way);
    struct prepared p;
    struct net n;
    double want_loss = 0, want_slope = 0, loss[TOKENS + 1][MASKS], along[TOKENS + 1][MASKS], sums[4] = {0};
    bool tried[TOKENS + 1][MASKS] = {{false}};
    source.read = one_text;
    net_open(&n, FAMILY_MDM, 3);
    must(prepared_open(&p, FAMILY_MDM, &source, 1, &err), &err);
    for (int l = 1; l <= TOKENS; l++) {
        enumerate(&n, l, loss[l], along[l]);
        for (int mask = 1; mask < 1 << l; mask++) {
            const int masked = __builtin_popcount((unsigned)mask);
            const double share = length_share(l, way->random_length) *
                                 mean_of(way, masked - 1 + way->flatten, l - masked) / integral(way->flatten, 0) / l;
            want_loss += share * loss[l][mask];
            want_slope += share * along[l][mask];
        }
    }
    for (int64_t number = 0; number < DRAWS; number++) {
        const int mask = prepare(&p, &o, &source, number), l = (int)p.batch.n;
        double got_loss = 0, got_slope = 0;
        if (mask) { /* all masked tokens of a draw weigh the same, so the network need not run for every draw */
            got_loss = (double)p.weight[0] * loss[l][mask];
            got_slope = (double)p.weight[0] * along[l][mask];
        }
        if (mask && !tried[l][mask]) {
            double really;
            const double found = slope(&n, &p.batch, p.targets, p.weight, &really);
            assert_true(fabs(really - got_loss) <= 1e-5 * fabs(got_loss));
            assert_true(fabs(found - got_slope) <= 1e-4 * fabs(got_slope) + 1e-6);
            tried[l][mask] = true;
        }
        sums[0] += got_loss, sums[1] += got_loss * got_loss, sums[2] += got_slope, sums[3] += got_slope * got_slope;
    }
    assert_mean(sums[0], sums[1], want_loss, "loss", 0, 0);
    assert_mean(sums[2], sums[3], want_slope, "gradient", 0, 0);
    prepared_close(&p);
    net_close(&n);
}

static void expected_gradient(void **state) {
    (void)state;
    for (int k = 0; k < WAYS; k++) check_gradient(&ways[k]);
}

/* The t of each step come one from each stratum; which sequence has which is another matter in each step, and even. */
static void stratified(void **state) {
    (void)state;
    enum { STRATA = 8, STEPS = 2000, LONG = 4000 };
    static const struct example one[] = {{.n = LONG}};
    struct err err = {{0}};
    struct few few = {.v = one, .n = 1, .fails_at = -1};
    const struct source source = few_source(&few, 1);
    const struct objective o = objective_of(&(struct way){.strata = STRATA});
    struct prepared p;
    int64_t first[STRATA] = {0}; /* strata of each step's first sequence */
    must(prepared_open(&p, FAMILY_MDM, &source, 1, &err), &err);
    for (int64_t step = 0; step < STEPS; step++) {
        int seen = 0;
        for (int64_t i = 0; i < (step < 20 ? STRATA : 1); i++) {
            prepared_clear(&p);
            must(objective_add(&o, &p, &source, 0, (uint64_t)(step * STRATA + i), &err), &err);
            const double p_mask = 1 / ((double)p.weight[0] * LONG), t = (p_mask - 1e-3) / (1 - 1e-3);
            const int stratum = (int)(t * STRATA);
            assert_true(p.batch.nwanted > 0 && stratum >= 0 && stratum < STRATA);
            seen |= 1 << stratum;
            if (i == 0) first[stratum]++;
        }
        if (step < 20) assert_int_equal(seen, (1 << STRATA) - 1);
    }
    for (int k = 0; k < STRATA; k++) assert_true(fabs((double)first[k] - STEPS / STRATA) < 5 * sqrt(STEPS / STRATA));
    prepared_close(&p);
}

/* A pair is one example, cut alike; what one does not mask, the other does, and hardly anything is masked in both. */
static void pairs(void **state) {
    (void)state;
    enum { PAIRS = 2000 };
    struct err err = {{0}};
    static const struct example long_ones[] = {{.n = 20}, {.n = 30}};
    struct few few = {.v = long_ones, .n = 2, .fails_at = -1};
    const struct source singly = few_source(&few, 1), source = source_in_pairs(&singly);
    const struct objective o = objective_of(&(struct way){.random_length = 0.5, .complementary = true});
    struct prepared p;
    int64_t tokens = 0, both = 0;
    assert_int_equal(source.group, 2);
    assert_int_equal(source.size, 4);
    assert_float_equal(source.epoch(source.context, 12), 3, 1e-12);
    must(prepared_open(&p, FAMILY_MDM, &source, 2, &err), &err);
    for (int64_t k = 0; k < PAIRS; k++) {
        prepared_clear(&p);
        for (int64_t i = 2 * k; i < 2 * k + 2; i++) must(objective_add(&o, &p, &source, i, (uint64_t)i, &err), &err);
        const int64_t n = p.starts[1];
        assert_int_equal(p.batch.n, 2 * n);
        for (int64_t i = 0; i < n; i++) {
            const bool one = p.tokens[i] == MASK_ID, other = p.tokens[n + i] == MASK_ID;
            assert_true(one || other);
            assert_true(one || p.tokens[i] == few_id(k, i));
            assert_true(other || p.tokens[n + i] == few_id(k, i));
            both += one && other;
            tokens++;
        }
    }
    const double expected = OBJECTIVE_EPS * (double)tokens;
    assert_true(fabs((double)both - expected) < 5 * sqrt(expected));
    prepared_close(&p);
}

static void not_for_arm(void **state) {
    (void)state;
    struct err err = {{0}};
    struct objective o = objective(FAMILY_ARM, 0);
    assert_int_equal(objective_check(&o, &err), 0);
    o.complementary = true;
    assert_int_equal(objective_check(&o, &err), -1);
    assert_non_null(strstr(err.msg, "--complementary"));
    o.family = FAMILY_MDM;
    assert_int_equal(objective_check(&o, &err), 0);
    o = objective(FAMILY_ARM, 0);
    o.bell = 1;
    assert_int_equal(objective_check(&o, &err), -1);
    assert_non_null(strstr(err.msg, "--bell"));
}

/* An ARM's draw has no noise but its length: targets are shifted by one and each weighs 1/length. */
static void left_to_right(void **state) {
    (void)state;
    struct err err = {{0}};
    struct few few = {.v = whole_arm, .n = 1, .fails_at = -1};
    const struct source source = few_source(&few, 1);
    const struct objective o = objective(FAMILY_ARM, 0.3);
    struct prepared p;
    int64_t lengths[TOKENS + 1] = {0};
    must(prepared_open(&p, FAMILY_ARM, &source, 1, &err), &err);
    assert_int_equal(p.max_rows, TOKENS);
    for (int64_t number = 0; number < DRAWS; number++) {
        prepare(&p, &o, &source, number);
        const int64_t l = p.batch.n;
        assert_null(p.batch.wanted);
        lengths[l]++;
        for (int64_t i = 0; i < l; i++) {
            assert_int_equal(p.batch.tokens[i], few_id(number, i));
            assert_int_equal(p.targets[i], few_id(number, i + 1));
            assert_true(fabs((double)p.weight[i] * (double)l - 1) < 1e-6);
        }
    }
    for (int l = 1; l <= TOKENS; l++)
        assert_mean((double)lengths[l], (double)lengths[l], length_share(l, 0.3), "share", l, 0);
    assert_float_equal(objective_mean_length(TOKENS, 0.3), 0.7 * 3 + 0.3 * 2, 1e-12);
    prepared_close(&p);
}

/* Three examples of 5, 3 and 4 ids with prompts of 2, 1 and 0 in one group, four groups in a step. */
static const struct example mixed[] = {{5, 2}, {3, 1}, {4, 0}, {2, 0}, {2, 1}, {2, 1}};

static void groups_mdm(void **state) {
    (void)state;
    struct err err = {{0}};
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    const struct source source = few_source(&few, 3);
    struct objective o = objective(FAMILY_MDM, 0);
    struct prepared p;
    o.step_groups = 4;
    must(prepared_open(&p, FAMILY_MDM, &source, 6, &err), &err);
    int64_t masked[6] = {0}, padding = 0;
    for (int64_t draw = 0; draw < 600; draw += 6) {
        prepared_clear(&p);
        for (int64_t i = 0; i < 6; i++) must(objective_add(&o, &p, &source, i, (uint64_t)(draw + i), &err), &err);
        /* every example is filled up to its group's longest: 5 ids, then 2 */
        const int64_t starts[] = {0, 5, 10, 15, 17, 19, 21};
        assert_memory_equal(p.batch.starts, starts, sizeof starts);
        for (int64_t k = 0; k < p.batch.nwanted; k++) {
            int64_t i = 0;
            while (starts[i + 1] <= p.batch.wanted[k]) i++;
            const int64_t at = p.batch.wanted[k] - starts[i];
            const double t = rng_uniform(o.seed, RNG_TIME, (uint64_t)(draw + i), 0), p_mask = (1 - 1e-3) * t + 1e-3;
            const double predicted = i < 3 ? 3 * 5 - (2 + 1 + 0) : 3 * 2 - (0 + 1 + 1);
            assert_true(at >= mixed[i].prompt); /* noise only behind the prompt */
            assert_int_equal(p.targets[k], at < mixed[i].n ? few_id(i, at) : 41);
            assert_true(fabs((double)p.weight[k] * p_mask * predicted * 4 - 1) < 1e-6);
            masked[i]++;
            padding += at >= mixed[i].n;
        }
        for (int64_t r = 0; r < 2; r++) assert_int_equal(p.batch.tokens[r], few_id(0, r)); /* the first one's prompt */
    }
    for (int i = 0; i < 6; i++) assert_true(masked[i] > 0);
    assert_true(padding > 50); /* the ids behind an example count as answer */
    prepared_close(&p);
}

static void groups_arm(void **state) {
    (void)state;
    struct err err = {{0}};
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    const struct source source = few_source(&few, 3);
    struct objective o = objective(FAMILY_ARM, 0);
    struct prepared p;
    o.step_groups = 4;
    must(prepared_open(&p, FAMILY_ARM, &source, 6, &err), &err);
    for (int64_t i = 0; i < 6; i++) must(objective_add(&o, &p, &source, i, (uint64_t)i, &err), &err);
    /* rows: 4, 2, 3, 1, 1, 1; predicted: 3, 2, 3 of the first group (no id predicts the first), 1, 1, 1 of the second */
    const int64_t starts[] = {0, 4, 6, 9, 10, 11, 12}, wanted[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    assert_memory_equal(p.batch.starts, starts, sizeof starts);
    assert_int_equal(p.batch.nwanted, 11);
    assert_memory_equal(p.batch.wanted, wanted, sizeof wanted);
    for (int64_t k = 0; k < 11; k++) {
        assert_true(fabs((double)p.weight[k] * (k < 8 ? 8 : 3) * 4 - 1) < 1e-6);
        int64_t i = 0;
        while (starts[i + 1] <= wanted[k]) i++;
        assert_int_equal(p.targets[k], few_id(i, wanted[k] - starts[i] + 1));
    }
    prepared_close(&p);
}

/* With random length, examples that have a prompt stay whole. */
static void prompts_are_not_cut(void **state) {
    (void)state;
    struct err err = {{0}};
    static const struct example given[] = {{5, 2}, {5, 0}};
    struct few few = {.v = given, .n = 2, .fails_at = -1};
    const struct source source = few_source(&few, 1);
    for (int family = 0; family < 2; family++) {
        const struct objective o = objective((enum family)family, 1);
        struct prepared p;
        int64_t shorter = 0;
        must(prepared_open(&p, (enum family)family, &source, 1, &err), &err);
        for (int64_t number = 0; number < 100; number++) {
            prepare(&p, &o, &source, number);
            if (number % 2 == 0) assert_int_equal(p.batch.n, 5 - family);
            shorter += p.batch.n < 5 - family;
        }
        assert_true(shorter > 20);
        prepared_close(&p);
    }
}

/* A group's prompts are dropped together, with the probability asked for, and nothing else changes. */
static void dropped_prompts(void **state) {
    (void)state;
    enum { GROUPS = 4000 };
    struct err err = {{0}};
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    const struct source source = few_source(&few, 3);
    struct objective with = objective(FAMILY_MDM, 0), without = with;
    struct prepared p, q;
    int64_t dropped = 0;
    with.drop = 0.3;
    must(prepared_open(&p, FAMILY_MDM, &source, 3, &err), &err);
    must(prepared_open(&q, FAMILY_MDM, &source, 3, &err), &err);
    for (int64_t group = 0; group < GROUPS; group++) {
        int64_t prompts = 0, masked = 0;
        prepared_clear(&p);
        prepared_clear(&q);
        for (int64_t i = group * 3; i < group * 3 + 3; i++) {
            const struct example *e = &mixed[i % 6];
            must(objective_add(&with, &p, &source, i, (uint64_t)i, &err), &err);
            must(objective_add(&without, &q, &source, i, (uint64_t)i, &err), &err);
            const int64_t start = p.starts[p.batch.nseq - 1];
            for (int64_t k = start; k < p.batch.n; k++) {
                const bool prompt = k - start < e->prompt;
                prompts += prompt;
                masked += prompt && p.tokens[k] == MASK_ID;
                if (!prompt) assert_int_equal(p.tokens[k], q.tokens[k]);
            }
        }
        assert_true(masked == 0 || masked == prompts);
        dropped += masked > 0;
        assert_int_equal(p.batch.nwanted, q.batch.nwanted);
        assert_memory_equal(p.wanted, q.wanted, (size_t)p.batch.nwanted * sizeof *p.wanted);
        assert_memory_equal(p.targets, q.targets, (size_t)p.batch.nwanted * sizeof *p.targets);
        assert_memory_equal(p.weight, q.weight, (size_t)p.batch.nwanted * sizeof *p.weight);
    }
    assert_true(fabs((double)dropped - 0.3 * GROUPS) < 5 * sqrt(GROUPS * 0.3 * 0.7));
    prepared_close(&p);
    prepared_close(&q);
}

struct counted {
    struct few few;
    int64_t lengths; /* how often lengths alone were asked for */
};

static int count_lengths(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    struct counted *c = context;
    c->lengths += !ids;
    return few_read(&c->few, number, ids, e, err);
}

/* Twelve examples in two groups of six, cut into micro-batches of any size: the same rows, targets and weights to the last
 * bit; and a group is measured once in each micro-batch that has some of it. */
static void any_micro_batch(void **state) {
    (void)state;
    struct err err = {{0}};
    for (int family = 0; family < 2; family++) {
        struct counted counted = {.few = {.v = mixed, .n = 6, .fails_at = -1}};
        struct source source = few_source(&counted.few, 6);
        struct objective o = objective((enum family)family, 0);
        struct prepared all, part;
        source.context = &counted;
        source.read = count_lengths;
        o.drop = 0.5;
        must(prepared_open(&all, (enum family)family, &source, 12, &err), &err);
        must(prepared_open(&part, (enum family)family, &source, 12, &err), &err);
        for (int64_t i = 0; i < 12; i++) must(objective_add(&o, &all, &source, i, (uint64_t)i, &err), &err);
        assert_int_equal(counted.lengths, 12);
        for (int64_t micro = 1; micro < 12; micro++) {
            int64_t rows = 0, wanted = 0;
            for (int64_t i = 0; i < 12;) {
                prepared_clear(&part);
                for (int64_t k = 0; k < micro && i < 12; k++, i++)
                    must(objective_add(&o, &part, &source, i, (uint64_t)i, &err), &err);
                const struct batch *b = &part.batch;
                assert_memory_equal(part.tokens, all.tokens + rows, (size_t)b->n * sizeof *part.tokens);
                assert_memory_equal(part.targets, all.targets + wanted, (size_t)b->nwanted * sizeof *part.targets);
                assert_memory_equal(part.weight, all.weight + wanted, (size_t)b->nwanted * sizeof *part.weight);
                for (int64_t k = 0; k < b->nwanted; k++)
                    assert_int_equal(part.wanted[k] + rows, all.wanted[wanted + k]);
                rows += b->n;
                wanted += b->nwanted;
            }
            assert_int_equal(rows, all.batch.n);
            assert_int_equal(wanted, all.batch.nwanted);
        }
        prepared_close(&all);
        prepared_close(&part);
    }
}

int main(void) {
    train_setup();
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks_and_weights), cmocka_unit_test(expected_gradient),
                                       cmocka_unit_test(left_to_right),     cmocka_unit_test(groups_mdm),
                                       cmocka_unit_test(groups_arm),        cmocka_unit_test(prompts_are_not_cut),
                                       cmocka_unit_test(dropped_prompts),   cmocka_unit_test(any_micro_batch),
                                       cmocka_unit_test(stratified),        cmocka_unit_test(pairs),
                                       cmocka_unit_test(not_for_arm)};
    const int r = cmocka_run_group_tests(tests, NULL, NULL);
    train_teardown();
    return r;
}
