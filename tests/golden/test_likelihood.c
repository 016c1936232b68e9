/* Likelihoods against the oracle's: the chain rule to 1e-4, Monte Carlo against its exact expectation within four of
 * its own standard errors, autoregressive ones with is_greedy. Then what must not matter: companions, the size of a
 * forward, threads. */
#include "golden/golden.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "compute/gemm.h"
#include "infer/engine.h"
#include "infer/likelihood.h"
#include "model/transformer.h"

enum { LONGEST = 64, MOST = 16, REPEATS = 24 };

struct cases { /* the likelihood cases of a golden folder */
    int64_t n;
    struct likelihood_item items[MOST];
    int32_t prefix[MOST][LONGEST], target[MOST][LONGEST];
    const json_t *json[MOST];
};
static struct cases cases;
static double largest_error;

static int64_t read_ids(int32_t out[LONGEST], const json_t *o, const char *key) {
    const json_t *list = json_object_get(o, key);
    const int64_t n = (int64_t)json_array_size(list);
    assert_true(n > 0 && n <= LONGEST);
    for (int64_t i = 0; i < n; i++) out[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return n;
}

static void read_cases(const struct golden *g) {
    const json_t *list = golden_list(g, "likelihood"), *o;
    size_t i;
    cases.n = (int64_t)json_array_size(list);
    assert_true(cases.n > 0 && cases.n <= MOST);
    json_array_foreach(list, i, o) {
        struct likelihood_item *it = &cases.items[i];
        cases.json[i] = o;
        it->nprefix = read_ids(cases.prefix[i], o, "prefix");
        it->ntarget = read_ids(cases.target[i], o, "target");
        it->sample = (uint64_t)i;
        it->prefix = cases.prefix[i];
        it->target = cases.target[i];
    }
}

static double number(int64_t i, const char *key) {
    const json_t *v = json_object_get(cases.json[i], key);
    return v ? json_number_value(v) : 0;
}

static void run(const struct golden *g, const struct likelihood_settings *s, const struct likelihood_item *items,
                int64_t n, int64_t max_rows, struct likelihood_result *out) {
    struct err err = {0};
    struct engine e;
    const bool guided = s->cfg > 0;
    const struct engine_settings es = {DTYPE_F32, max_rows * (guided ? 2 : 1), guided};
    golden_must(engine_open(&e, &g->weights, &es, &err), &err);
    golden_must(likelihood(&e, s, items, n, out, &err), &err);
    engine_close(&e);
}

static void close_to(const struct golden *g, int64_t i, double got, double want) {
    largest_error = fmax(largest_error, fabs(got - want));
    if (!(fabs(got - want) < 1e-4))
        fail_msg("%s: likelihood %lld is %.8f, the oracle's %.8f", g->dir, (long long)i, got, want);
}

static void check_chain(struct golden *g, void *ctx) {
    if (g->weights.config.family != FAMILY_MDM) return;
    read_cases(g);
    for (int64_t i = 0; i < cases.n; i++) {
        struct likelihood_result r;
        const struct likelihood_settings s = {.method = LIKELIHOOD_CHAIN, .cfg = number(i, "cfg_scale")};
        run(g, &s, &cases.items[i], 1, LONGEST, &r);
        close_to(g, i, r.nll, number(i, "nll_chain"));
        ++*(int *)ctx;
    }
}

/* Σ masked CE of every mask of the target (bit k: token k), by plain forwards and double arithmetic. */
static void losses_of_masks(const struct golden *g, const struct likelihood_item *it, double cfg, double *loss) {
    struct err err = {0};
    struct transformer *m;
    const int64_t T = it->nprefix + it->ntarget, V = g->weights.config.padded_vocab_size, starts[2] = {0, T};
    float *z = mem_alloc(2 * T * V, sizeof *z, "logits", &err), *u = z + T * V;
    assert_non_null(z);
    golden_must(transformer_open(&m, &g->weights, &(struct transformer_settings){.max_rows = T}, &err), &err);
    for (int64_t mask = 0; mask < 1 << it->ntarget; mask++) {
        int32_t ids[2 * LONGEST];
        const struct batch b = {.tokens = ids, .starts = starts, .n = T, .nseq = 1};
        for (int64_t i = 0; i < T; i++) ids[i] = i < it->nprefix ? it->prefix[i] : it->target[i - it->nprefix];
        for (int64_t k = 0; k < it->ntarget; k++)
            if (mask >> k & 1) ids[it->nprefix + k] = (int32_t)g->weights.config.mask_id;
        transformer_logits(m, &b, z);
        for (int64_t i = 0; i < it->nprefix; i++) ids[i] = (int32_t)g->weights.config.mask_id;
        transformer_logits(m, &b, u);
        loss[mask] = 0;
        for (int64_t k = 0; k < it->ntarget; k++) {
            const float *c = z + (it->nprefix + k) * V, *d = u + (it->nprefix + k) * V;
            double sum = 0, top = -INFINITY;
            if (!(mask >> k & 1)) continue;
#define GUIDED(v) ((double)d[v] + (cfg + 1) * ((double)c[v] - (double)d[v]))
            for (int64_t v = 0; v < V; v++) top = fmax(top, GUIDED(v));
            for (int64_t v = 0; v < V; v++) sum += exp(GUIDED(v) - top);
            loss[mask] += log(sum) + top - GUIDED(it->target[k]);
        }
    }
    transformer_close(m);
    mem_free(z);
}

/* The definition, draw by draw. */
static double plain_mc(const struct likelihood_settings *s, int64_t sample, int64_t ntarget, const double *loss) {
    double total = 0;
    for (int64_t i = 0; i < s->mc_draws; i++) {
        const double u0 = rng_uniform(s->seed, RNG_MC_TIME, (uint64_t)sample, (uint64_t)(i / s->mc_batch));
        const double time = fmod(u0 + (double)(i % s->mc_batch) / (double)s->mc_batch, 1),
                     t = (1 - s->floor) * time + s->floor;
        int64_t mask = 0;
        for (int64_t k = 0; k < ntarget; k++)
            mask |= (int64_t)(rng_uniform(s->seed, RNG_MC_MASK, (uint64_t)sample, (uint64_t)i << 32 | (uint64_t)k) < t)
                    << k;
        if (mask) total += loss[mask] / t;
    }
    return total / (double)s->mc_draws;
}

static void check_mc(struct golden *g, void *ctx) {
    if (g->weights.config.family != FAMILY_MDM) return;
    read_cases(g);
    for (int64_t i = 0; i < cases.n; i++) {
        struct likelihood_item copies[REPEATS];
        struct likelihood_result r[REPEATS];
        double mean = 0, variance = 0, loss[256];
        const int64_t n = cases.items[i].ntarget;
        const struct likelihood_settings s = {
            .mc_draws = 512, .mc_batch = 16, .cfg = number(i, "cfg_scale"), .seed = 5};
        struct likelihood_settings floored = s;
        assert_true(n <= 8);
        losses_of_masks(g, &cases.items[i], s.cfg, loss);
        for (int k = 0; k < REPEATS; k++) { /* sample k: other draws */
            copies[k] = cases.items[i];
            copies[k].sample = (uint64_t)k;
        }
        floored.floor = 0.25;
        run(g, &floored, copies, 1, 1024, r);
        close_to(g, i, r[0].nll, plain_mc(&floored, 0, n, loss));
        run(g, &s, copies, REPEATS, 1024, r);
        for (int k = 0; k < REPEATS; k++) {
            const double want = plain_mc(&s, k, n, loss);
            largest_error = fmax(largest_error, fabs(r[k].nll / want - 1));
            if (!(fabs(r[k].nll / want - 1) < 1e-5))
                fail_msg("%s: likelihood %lld: Monte Carlo gives %.7f, its draws one by one %.7f", g->dir, (long long)i,
                         r[k].nll, want);
            mean += r[k].nll / REPEATS;
        }
        for (int k = 0; k < REPEATS; k++) variance += (r[k].nll - mean) * (r[k].nll - mean) / (REPEATS - 1);
        const double want = number(i, "nll_mc_expectation"), sigma = sqrt(variance / REPEATS);
        if (!(fabs(mean - want) < 4 * sigma))
            fail_msg("%s: likelihood %lld: Monte Carlo mean %.5f, expectation %.5f, %.1f standard errors off", g->dir,
                     (long long)i, mean, want, fabs(mean - want) / sigma);
        ++*(int *)ctx;
    }
}

static void check_arm(struct golden *g, void *ctx) {
    if (g->weights.config.family != FAMILY_ARM) return;
    struct likelihood_result r[MOST];
    read_cases(g);
    run(g, &(struct likelihood_settings){0}, cases.items, cases.n, 256, r);
    for (int64_t i = 0; i < cases.n; i++) {
        close_to(g, i, r[i].nll, number(i, "nll"));
        assert_int_equal(r[i].is_greedy, json_is_true(json_object_get(cases.json[i], "is_greedy")));
        ++*(int *)ctx;
    }
}

/* All items together and in small forwards, against each alone. */
static void check_batching(struct golden *g, void *ctx) {
    const bool mdm = g->weights.config.family == FAMILY_MDM;
    read_cases(g);
    for (int method = 0; method < 2; method++) {
        const struct likelihood_settings s = {.method = method ? LIKELIHOOD_CHAIN : LIKELIHOOD_MC,
                                              .mc_draws = 64,
                                              .mc_batch = 16,
                                              .cfg = mdm ? 0.5 : 0,
                                              .greedy = true,
                                              .seed = 3};
        struct likelihood_result whole[MOST], small[MOST], alone;
        run(g, &s, cases.items, cases.n, 2000, whole);
        run(g, &s, cases.items, cases.n, LONGEST, small);
        for (int64_t i = 0; i < cases.n; i++) {
            run(g, &s, &cases.items[i], 1, LONGEST, &alone);
            assert_true(fabs(whole[i].nll - alone.nll) <= 1e-6 * alone.nll);
            assert_true(fabs(small[i].nll - alone.nll) <= 1e-6 * alone.nll);
            assert_int_equal(whole[i].is_greedy, alone.is_greedy);
            assert_int_equal(small[i].is_greedy, alone.is_greedy);
            ++*(int *)ctx;
        }
    }
}

/* Padding is real masks behind the target: the loss of one token, by hand. */
static void check_padding(struct golden *g, void *ctx) {
    if (g->weights.config.family != FAMILY_MDM) return;
    enum { PAD = 40 };
    struct err err = {0};
    struct transformer *m;
    struct likelihood_result padded, plain;
    int32_t ids[PAD];
    const int64_t V = g->weights.config.padded_vocab_size;
    read_cases(g);
    const struct likelihood_item it = {cases.prefix[0], cases.target[0], cases.items[0].nprefix, 1};
    const int64_t starts[2] = {0, PAD}, row = it.nprefix;
    for (int64_t i = 0; i < PAD; i++) ids[i] = i < it.nprefix ? it.prefix[i] : (int32_t)g->weights.config.mask_id;
    float *z = mem_alloc(V, sizeof *z, "logits", &err);
    assert_non_null(z);
    golden_must(transformer_open(&m, &g->weights, &(struct transformer_settings){.max_rows = PAD}, &err), &err);
    transformer_logits(m, &(struct batch){ids, starts, &row, PAD, 1, 1}, z);
    transformer_close(m);
    double sum = 0;
    for (int64_t v = 0; v < V; v++) sum += exp((double)z[v]);
    const double want = log(sum) - (double)z[it.target[0]];
    mem_free(z);
    struct likelihood_settings s = {.method = LIKELIHOOD_CHAIN, .pad = PAD};
    run(g, &s, &it, 1, LONGEST, &padded);
    s.pad = it.nprefix;
    run(g, &s, &it, 1, LONGEST, &plain);
    assert_true(fabs(padded.nll - want) < 1e-5);
    assert_true(fabs(plain.nll - want) > 1e-4); /* it does make a difference */
    ++*(int *)ctx;
}

/* What greedy decoding writes, one most confident position at a time, by a plain loop over full logits. */
static void decode_greedily(const struct golden *g, const int32_t *prefix, int64_t nprefix, int32_t *target,
                            int64_t n) {
    struct err err = {0};
    struct transformer *m;
    const int64_t T = nprefix + n, V = g->weights.config.padded_vocab_size, starts[2] = {0, T};
    const int32_t mask = (int32_t)g->weights.config.mask_id;
    int32_t ids[2 * LONGEST];
    memcpy(ids, prefix, (size_t)nprefix * sizeof *ids);
    for (int64_t i = 0; i < n; i++) ids[nprefix + i] = mask;
    float *z = mem_alloc(T * V, sizeof *z, "logits", &err);
    assert_non_null(z);
    golden_must(transformer_open(&m, &g->weights, &(struct transformer_settings){.max_rows = T}, &err), &err);
    for (int64_t round = 0; round < n; round++) {
        double top = -1;
        int64_t place = 0;
        int32_t value = 0;
        transformer_logits(m, &(struct batch){.tokens = ids, .starts = starts, .n = T, .nseq = 1}, z);
        for (int64_t i = nprefix; i < T; i++) {
            if (ids[i] != mask) continue;
            double sum = 0;
            int64_t best = 0;
            for (int64_t v = 0; v < V; v++) {
                sum += exp((double)z[i * V + v]);
                if (z[i * V + v] > z[i * V + best]) best = v;
            }
            const double p = exp((double)z[i * V + best]) / sum;
            if (p > top) top = p, place = i, value = (int32_t)best;
        }
        ids[place] = value;
    }
    memcpy(target, ids + nprefix, (size_t)n * sizeof *ids);
    transformer_close(m);
    mem_free(z);
}

static void check_greedy(struct golden *g, void *ctx) {
    const struct config *c = &g->weights.config;
    if (c->family != FAMILY_MDM) return;
    enum { N = 7 };
    int32_t targets[2 * MOST][N];
    struct likelihood_item items[2 * MOST];
    struct likelihood_result r[2 * MOST];
    read_cases(g);
    int64_t n = 0;
    for (int64_t i = 0; i < cases.n; i++) { /* the greedy target, then one with a token changed */
        const int64_t nprefix = cases.items[i].nprefix;
        decode_greedily(g, cases.prefix[i], nprefix, targets[n], N);
        bool whole = true; /* a head with a row for the mask may leave places open */
        for (int k = 0; k < N; k++) whole = whole && targets[n][k] != c->mask_id;
        if (!whole) continue;
        memcpy(targets[n + 1], targets[n], sizeof targets[n]);
        targets[n + 1][i % N] = (targets[n][i % N] + 1) % 20;
        for (int k = 0; k < 2; k++, n++) items[n] = (struct likelihood_item){cases.prefix[i], targets[n], nprefix, N};
    }
    const struct likelihood_settings s = {.method = LIKELIHOOD_CHAIN, .greedy = true};
    run(g, &s, items, n, 100, r);
    for (int64_t i = 0; i < n; i++) assert_int_equal(r[i].is_greedy, i % 2 == 0);
    *(int *)ctx += (int)n;
}

static void over_all(void (*fn)(struct golden *, void *), const char *what, int least) {
    int count = 0;
    largest_error = 0;
    golden_each(fn, &count);
    printf("%s: %d cases", what, count);
    if (largest_error > 0) printf(", largest difference %.1e", largest_error);
    printf("\n");
    assert_true(count >= least);
}

static void chain(void **state) {
    (void)state;
    over_all(check_chain, "chain", 12);
}
static void monte_carlo(void **state) {
    (void)state;
    over_all(check_mc, "Monte Carlo", 12);
}
static void autoregressive(void **state) {
    (void)state;
    over_all(check_arm, "autoregressive", 6);
}
static void batching(void **state) {
    (void)state;
    over_all(check_batching, "batching", 30);
}
static void padding(void **state) {
    (void)state;
    over_all(check_padding, "padding", 3);
}
static void greedy(void **state) {
    (void)state;
    over_all(check_greedy, "greedy", 6);
}

static void bad_items(void **state) {
    (void)state;
    struct err err = {0};
    struct golden g;
    struct engine e;
    struct likelihood_result r;
    golden_open(&g, "tests/golden", "mdm-mha");
    golden_must(engine_open(&e, &g.weights, &(struct engine_settings){.max_rows = 256}, &err), &err);
    const int32_t some[3] = {4, 5, 6}, bad[2] = {4, 100000}, mask[1] = {(int32_t)g.weights.config.mask_id};
    static int32_t many[100];
    const struct likelihood_item items[] = {
        {some, some, 3, 0}, {bad, some, 2, 3}, {some, bad, 3, 2}, {some, mask, 3, 1}, {many, some, 100, 3}};
    const struct likelihood_settings s = {.method = LIKELIHOOD_CHAIN};
    for (int i = 0; i < 5; i++) {
        err.msg[0] = 0;
        assert_int_equal(likelihood(&e, &s, &items[i], 1, &r, &err), -1);
        assert_true(strlen(err.msg) > 10);
    }
    engine_close(&e);
    golden_close(&g);
}

int main(void) {
    struct err err = {0};
    if (kernels_init(&err) < 0 || gemm_init(1, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain),     cmocka_unit_test(monte_carlo), cmocka_unit_test(autoregressive),
        cmocka_unit_test(batching),  cmocka_unit_test(padding),     cmocka_unit_test(greedy),
        cmocka_unit_test(bad_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
