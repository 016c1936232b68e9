/* params: the table agrees with the config's counts and with what the oracle named; fresh weights have the distribution
 * they should and do not depend on threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "golden/golden.h"
#include "model/params.h"

static struct config shape(enum family family) {
    return (struct config){.family = family,
                           .block_size = 64,
                           .vocab_size = 37,
                           .padded_vocab_size = 40,
                           .mask_id = family == FAMILY_MDM ? 40 : -1,
                           .n_layer = 3,
                           .n_head = 3,
                           .n_query_groups = 1,
                           .n_embd = 30,
                           .intermediate_size = 50,
                           .norm_eps = 1e-5,
                           .rope_base = 10000,
                           .bos_id = -1,
                           .eos_id = -1};
}

static int64_t elements(const struct params *p) {
    int64_t n = 0;
    for (int i = 0; i < p->count; i++) n += p->v[i].rows * p->v[i].cols;
    return n;
}

static void table_of(const struct config *c) {
    struct params p;
    struct err err = {0};
    if (params_init(&p, c, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(p.count, 3 + 7 * c->n_layer);
    assert_int_equal(elements(&p) - (c->tied_head ? c->padded_vocab_size * c->n_embd : 0), params_all(c));
    int64_t at = 0;
    for (int i = 0; i < p.count; i++) {
        const struct param *q = &p.v[i];
        assert_int_equal(params_index(&p, q->role, q->layer), i);
        assert_int_equal(q->offset % 16, 0);
        if (q->role == PARAM_HEAD && c->tied_head) {
            assert_int_equal(q->offset, p.v[0].offset);
            continue;
        }
        assert_true(q->offset >= at && q->offset < at + 16);
        at = q->offset + q->rows * q->cols;
    }
    assert_true(p.total >= at && p.total < at + 16);
    params_free(&p);
}

static void tables_add_up(void **state) {
    (void)state;
    for (int family = 0; family < 2; family++) {
        struct config c = shape((enum family)family);
        table_of(&c);
        c.tied_head = true;
        table_of(&c);
    }
    for (int i = 0; i < named_models_count; i++) {
        char name[16];
        struct config c;
        struct err err = {0};
        snprintf(name, sizeof name, "%d", named_models[i].name);
        if (config_named(&c, name, FAMILY_MDM, 32000, &err) < 0) fail_msg("%s", err.msg);
        table_of(&c);
    }
}

/* A table of GPT-2's kind: learned positions, biases behind what they belong to, an MLP of two; parts follow one another
 * and fill the flat buffer. */
static void other_shapes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t rows, cols;
    } want[] = {{"transformer.wte.weight", 40, 30},           {"transformer.wpe.weight", 64, 30},
                {"transformer.h.0.norm_1.weight", 30, 1},     {"transformer.h.0.norm_1.bias", 30, 1},
                {"transformer.h.0.attn.attn.weight", 50, 30}, {"transformer.h.0.attn.attn.bias", 50, 1},
                {"transformer.h.0.attn.proj.weight", 30, 30}, {"transformer.h.0.attn.proj.bias", 30, 1},
                {"transformer.h.0.norm_2.weight", 30, 1},     {"transformer.h.0.norm_2.bias", 30, 1},
                {"transformer.h.0.mlp.fc.weight", 50, 30},    {"transformer.h.0.mlp.fc.bias", 50, 1},
                {"transformer.h.0.mlp.proj.weight", 30, 50},  {"transformer.h.0.mlp.proj.bias", 30, 1},
                {"transformer.h.1.norm_1.weight", 30, 1}};
    struct config c = shape(FAMILY_ARM);
    struct params p;
    struct err err = {0};
    c.positions = POSITIONS_LEARNED;
    c.norm = NORM_LAYER;
    c.mlp = MLP_GELU;
    c.attn_bias = c.proj_bias = c.mlp_bias = true;
    assert_int_equal(params_init(&p, &c, &err), 0);
    assert_int_equal(p.count, 2 + 3 * 12 + 3);
    for (int i = 0; i < 15; i++) {
        assert_string_equal(p.v[i].name, want[i].name);
        assert_int_equal(p.v[i].rows, want[i].rows);
        assert_int_equal(p.v[i].cols, want[i].cols);
    }
    assert_int_equal(elements(&p), params_all(&c));
    assert_int_equal(params_bias(&p, PARAM_W3, 1), params_index(&p, PARAM_W3, 1) + 1);
    assert_int_equal(params_index(&p, PARAM_W2, 1), -1);
    assert_int_equal(params_bias(&p, PARAM_HEAD, -1), -1);
    int row = 0;
    int64_t offset = 0;
    for (int part = 0; part < params_parts(&p); part++) {
        const struct param_part of = params_part(&p, part);
        assert_int_equal(of.first, row);
        assert_int_equal(of.offset, offset);
        for (int i = row; i < row + of.count; i++) assert_int_equal(p.v[i].part, part);
        row += of.count;
        offset += of.floats;
    }
    assert_int_equal(row, p.count);
    assert_int_equal(offset, p.total);
    float *w = mem_alloc(p.total, sizeof *w, "weights", &err);
    params_random(w, &p, 3);
    assert_true(w[p.v[params_bias(&p, PARAM_ATTN, 2)].offset] == 0 &&
                w[p.v[params_bias(&p, PARAM_NORM_1, 2)].offset] == 0);
    assert_true(w[p.v[params_index(&p, PARAM_NORM_1, 2)].offset] == 1 && w[p.v[1].offset + 77] != 0);
    mem_free(w);
    params_free(&p);
    c = shape(FAMILY_MDM);
    c.mask_inside = true;
    c.mask_id = 38;
    c.attn_bias = true;
    assert_int_equal(params_init(&p, &c, &err), 0);
    assert_int_equal(p.v[0].rows, 40); /* no row for the mask alone */
    assert_int_equal(p.count, 3 + 3 * 8);
    assert_int_equal(elements(&p), params_all(&c));
    params_free(&p);
}

static void order_and_shapes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t rows, cols;
    } want[] = {{"transformer.wte.weight", 41, 30},
                {"transformer.h.0.norm_1.weight", 30, 1},
                {"transformer.h.0.attn.attn.weight", 50, 30},
                {"transformer.h.0.attn.proj.weight", 30, 30},
                {"transformer.h.0.norm_2.weight", 30, 1},
                {"transformer.h.0.mlp.swiglu.w1.weight", 50, 30},
                {"transformer.h.0.mlp.swiglu.w2.weight", 50, 30},
                {"transformer.h.0.mlp.swiglu.w3.weight", 30, 50},
                {"transformer.h.1.norm_1.weight", 30, 1}};
    struct config c = shape(FAMILY_MDM);
    struct params p;
    struct err err = {0};
    assert_int_equal(params_init(&p, &c, &err), 0);
    for (int i = 0; i < 9; i++) {
        assert_string_equal(p.v[i].name, want[i].name);
        assert_int_equal(p.v[i].rows, want[i].rows);
        assert_int_equal(p.v[i].cols, want[i].cols);
    }
    assert_string_equal(p.v[p.count - 2].name, "transformer.ln_f.weight");
    assert_string_equal(p.v[p.count - 1].name, "lm_head.weight");
    assert_int_equal(p.v[p.count - 1].rows, 40);
    params_free(&p);
}

/* Bounds of five standard errors: a wrong standard deviation (2/(5E) without the root, 1/√E) is far outside. */
static void moments(const struct param *p, const float *w) {
    int64_t n = p->rows * p->cols;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += w[i];
        squares += (double)w[i] * w[i];
    }
    double mean = sum / (double)n, sd = sqrt(squares / (double)n), std = p->init_std;
    if (std == 0) {
        assert_true(mean == 1 && sd == 1);
        return;
    }
    if (fabs(mean) > 5 * std / sqrt((double)n)) fail_msg("%s: mean %g, std %g", p->name, mean, std);
    if (fabs(sd / std - 1) > 5 / sqrt(2.0 * (double)n)) fail_msg("%s: deviation %g, expected %g", p->name, sd, std);
}

static void fresh_weights(void **state) {
    (void)state;
    struct config c;
    struct params p;
    struct err err = {0};
    if (config_named(&c, "6", FAMILY_MDM, 1000, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(params_init(&p, &c, &err), 0);
    const double wide = sqrt(2.0 / 5 / 256), narrow = 1 / (16.0 * 6);
    float *a = mem_alloc(p.total, sizeof *a, "weights", &err), *b = mem_alloc(p.total, sizeof *b, "weights", &err);
    assert_true(a && b);
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    params_random(a, &p, 7);
    omp_set_num_threads(3);
    params_random(b, &p, 7);
    omp_set_num_threads(threads);
    assert_memory_equal(a, b, (size_t)p.total * sizeof *a);
    for (int i = 0; i < p.count; i++) {
        const struct param *q = &p.v[i];
        bool small = q->role == PARAM_PROJ || q->role == PARAM_W3;
        assert_true(q->cols == 1 ? q->init_std == 0 : fabs(q->init_std / (small ? narrow : wide) - 1) < 1e-12);
        moments(q, a + q->offset);
    }
    params_random(b, &p, 8);
    int same = 0;
    for (int64_t i = 0; i < 1000; i++) same += a[i] == b[i];
    assert_true(same < 10);
    /* nothing is repeated further on in a parameter (the embedding is long), nor from one to another of the same shape
     */
    for (int64_t step = 1 << 10; step < 1 << 18; step *= 2) {
        same = 0;
        for (int64_t i = 0; i < 100; i++) same += a[i] == a[i + step];
        assert_true(same < 5);
    }
    int64_t w1 = p.v[params_index(&p, PARAM_W1, 0)].offset, w2 = p.v[params_index(&p, PARAM_W2, 0)].offset;
    same = 0;
    for (int64_t i = 0; i < 1000; i++) same += a[w1 + i] == a[w2 + i];
    assert_true(same < 10);
    mem_free(a);
    mem_free(b);
    params_free(&p);
}

/* Gaps between parameters stay zero, and a tied head does not write over the embedding. */
static void gaps_and_ties(void **state) {
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        struct config c = shape(FAMILY_MDM);
        struct params p;
        struct err err = {0};
        c.tied_head = tied;
        assert_int_equal(params_init(&p, &c, &err), 0);
        float *w = mem_alloc(p.total, sizeof *w, "weights", &err);
        assert_non_null(w);
        params_random(w, &p, 3);
        int64_t zeros = 0;
        for (int64_t i = 0; i < p.total; i++) zeros += w[i] == 0;
        assert_int_equal(zeros, p.total - params_all(&c));
        moments(&p.v[0], w);
        mem_free(w);
        params_free(&p);
    }
}

static void oracle_has_our_names(struct golden *g, void *ctx) {
    (void)ctx;
    const struct params *p = &g->weights.params;
    for (int i = 0; i < p->count; i++) assert_non_null(golden_param(g, "loss/grad", i));
    assert_int_equal(elements(p), params_all(&g->weights.config));
}

static void golden_names(void **state) {
    (void)state;
    golden_each(oracle_has_our_names, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_add_up), cmocka_unit_test(other_shapes),  cmocka_unit_test(order_and_shapes),
        cmocka_unit_test(fresh_weights), cmocka_unit_test(gaps_and_ties), cmocka_unit_test(golden_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
