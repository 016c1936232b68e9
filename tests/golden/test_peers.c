/* Other projects' models against what the `transformers` package computed from them (peers/make.py): logits of every row,
 * of wanted rows, loss and every gradient, to 1e-5 relative in f32; through the opened network and through layers that
 * come and go (residency). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "compute/gemm.h"
#include "golden/visiting.h"
#include "infer/engine.h"
#include "model/kvstore.h"
#include "model/transformer.h"

#define PEERS "tests/golden/peers/"

struct peer {
    const char *name, *naming;
    enum family family;
    bool trains;
};
static const struct peer peers[] = {
    {"llama", "Hugging Face Llama", FAMILY_ARM, true},
    {"qwen2", "Hugging Face Llama", FAMILY_ARM, true},
    {"dream", "Hugging Face Llama", FAMILY_MDM, true},
    {"llada", "LLaDA", FAMILY_MDM, true},
    {"gpt2", "GPT-2", FAMILY_ARM, false},
    {"gpt2-bare", "GPT-2", FAMILY_ARM, false},
};
enum { PEERS_COUNT = sizeof peers / sizeof peers[0] };

struct opened {
    struct weights weights;
    struct safetensors cases;
    struct batch batch; /* all rows */
    int64_t V;
};

static void must(int r, const struct err *err) {
    if (r < 0) fail_msg("%s", err->msg);
}

static const void *tensor(const struct opened *o, const char *name) {
    const struct st_tensor *t = safetensors_find(&o->cases, name);
    if (!t) fail_msg("no tensor %s", name);
    return t->data;
}

static int64_t length(const struct opened *o, const char *name) {
    return safetensors_find(&o->cases, name)->shape[0];
}

static void open_peer(struct opened *o, const struct peer *p) {
    struct err err = {{0}};
    char path[256];
    snprintf(path, sizeof path, PEERS "%s", p->name);
    must(weights_load(&o->weights, path, NULL, FAMILY_ANY, &err), &err);
    snprintf(path, sizeof path, PEERS "%s/cases.safetensors", p->name);
    must(safetensors_open(&o->cases, path, &err), &err);
    assert_string_equal(weights_naming(&o->weights.files), p->naming);
    assert_int_equal(o->weights.config.family, p->family);
    o->V = o->weights.config.padded_vocab_size;
    o->batch = (struct batch){.tokens = tensor(o, "ids"),
                              .starts = tensor(o, "starts"),
                              .n = length(o, "ids"),
                              .nseq = length(o, "starts") - 1};
}

static void close_peer(struct opened *o) {
    weights_free(&o->weights);
    safetensors_close(&o->cases);
}

static double distance(const float *got, const float *want, int64_t n) {
    double d = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    assert_true(isfinite(d) && norm > 0);
    return sqrt(d / norm);
}

static void logits_of(const struct opened *o, const struct transformer_settings *s, const char *name) {
    struct err err = {{0}};
    struct transformer *m;
    const int64_t n = o->batch.n, V = o->V;
    const float *want = tensor(o, "logits");
    float *got = calloc((size_t)(n * V), 4);
    must(transformer_open(&m, &o->weights, s, &err), &err);
    transformer_logits(m, &o->batch, got);
    const double all = distance(got, want, n * V);
    printf("%s: logits differ by %.1e relative\n", name, all);
    assert_true(all <= (s->precision == DTYPE_F32 ? 1e-5 : 3e-2));
    struct batch some = o->batch;
    some.wanted = tensor(o, "wanted");
    some.nwanted = length(o, "wanted");
    transformer_logits(m, &some, got);
    for (int64_t i = 0; i < some.nwanted && s->precision == DTYPE_F32; i++)
        assert_true(distance(got + i * V, want + some.wanted[i] * V, V) <= 1e-5);
    transformer_close(m);
    free(got);
}

static void logits(void **state) {
    (void)state;
    for (int i = 0; i < PEERS_COUNT; i++) {
        struct opened o;
        open_peer(&o, &peers[i]);
        struct transformer_settings s = {.max_rows = o.batch.n};
        logits_of(&o, &s, peers[i].name);
        struct visiting v;
        visiting_open(&v, &o.weights, &s);
        logits_of(&o, &s, "  layers that come and go");
        visiting_close(&v);
        logits_of(&o, &(struct transformer_settings){.precision = DTYPE_BF16, .max_rows = o.batch.n}, "  bf16");
        close_peer(&o);
    }
}

/* A sequence in two pieces, the second behind the first one's keys and values: positions go on. */
static void behind_a_past(void **state) {
    (void)state;
    for (int i = 0; i < PEERS_COUNT; i++) {
        struct opened o;
        struct err err = {{0}};
        struct transformer *m;
        struct kvstore *past;
        open_peer(&o, &peers[i]);
        const int64_t n = o.batch.starts[1], cut = 4, V = o.V;
        float *got = calloc((size_t)(n * V), 4);
        must(transformer_open(&m, &o.weights, &(struct transformer_settings){.max_rows = n}, &err), &err);
        must(kvstore_open(&past, &o.weights.config, n, DTYPE_F32, &err), &err);
        const int64_t pieces[2][2] = {{0, cut}, {0, n - cut}};
        for (int k = 0; k < 2 && peers[i].family == FAMILY_ARM; k++) {
            transformer_logits(m,
                               &(struct batch){.tokens = o.batch.tokens + k * cut,
                                               .starts = pieces[k],
                                               .n = pieces[k][1],
                                               .nseq = 1,
                                               .past = &past,
                                               .append = true},
                               got + k * cut * V);
            kvstore_commit(past, pieces[k][1]);
        }
        if (peers[i].family == FAMILY_ARM) assert_true(distance(got, tensor(&o, "logits"), n * V) <= 1e-5);
        kvstore_close(past);
        transformer_close(m);
        free(got);
        close_peer(&o);
    }
}

/* The engine's choice for each position of a diffusion model is the peer's: the shift is made once. */
static void choices(void **state) {
    (void)state;
    for (int i = 0; i < PEERS_COUNT; i++) {
        struct opened o;
        struct engine e;
        struct err err = {{0}};
        if (peers[i].family != FAMILY_MDM) continue;
        open_peer(&o, &peers[i]);
        const int64_t n = o.batch.starts[1];
        int64_t rows[16];
        assert_true(n <= 16);
        must(engine_open(&e, &o.weights, &(struct engine_settings){.max_rows = n}, &err), &err);
        engine_begin(&e);
        for (int64_t k = 0; k < n; k++) rows[k] = engine_row_of(&e, k);
        const int64_t at =
            engine_add(&e, &(struct engine_sequence){.ids = o.batch.tokens, .n = n, .rows = rows, .nrows = n});
        assert_true(at >= 0);
        for (int64_t k = 0; k < n; k++) e.want[at + k] = (struct choose_row){.target = -1};
        engine_run(&e);
        for (int64_t k = 0; k < n; k++)
            assert_int_equal(e.choice[at + k].id, kernels->argmax((const float *)tensor(&o, "logits") + k * o.V, o.V));
        engine_close(&e);
        close_peer(&o);
    }
}

/* want: the peer's gradients, read as weights: its names, its shapes. */
static void gradients_of(const struct opened *o, const struct weights *want, bool recompute, bool visits) {
    struct err err = {{0}};
    struct transformer *m;
    struct visiting v;
    const struct params *p = &o->weights.params;
    struct batch b = o->batch;
    struct transformer_settings s = {.max_rows = b.n, .training = true, .recompute = recompute};
    float *grad = calloc((size_t)p->total, 4), *expected = calloc((size_t)p->total, 4);
    b.wanted = tensor(o, "wanted");
    b.nwanted = length(o, "wanted");
    if (visits) visiting_open(&v, &o->weights, &s);
    must(transformer_open(&m, &o->weights, &s, &err), &err);
    const double loss = transformer_train(m, &b, tensor(o, "targets"), tensor(o, "weight"), visits ? NULL : grad),
                 want_loss = *(const double *)tensor(o, "loss");
    if (visits) {
        memcpy(grad, v.gradient, (size_t)p->total * 4);
        visiting_close(&v);
    }
    assert_true(fabs(loss - want_loss) <= 1e-5 * want_loss);
    weights_copy_range(want, expected, 0, p->total);
    for (int i = 0; i < p->count; i++) {
        const struct param *q = &p->v[i];
        const double d = distance(grad + q->offset, expected + q->offset, q->rows * q->cols);
        if (d > 1e-5) fail_msg("gradient of %s differs by %.1e", q->name, d);
    }
    printf("  recompute %d, layers come and go %d: gradients differ by %.1e\n", recompute, visits,
           distance(grad, expected, p->total));
    transformer_close(m);
    free(grad);
    free(expected);
}

static void gradients(void **state) {
    (void)state;
    for (int i = 0; i < PEERS_COUNT; i++) {
        struct opened o;
        struct weights want;
        struct err err = {{0}};
        char path[256], config[256];
        if (!peers[i].trains) continue;
        open_peer(&o, &peers[i]);
        snprintf(path, sizeof path, PEERS "%s/gradients.safetensors", peers[i].name);
        snprintf(config, sizeof config, PEERS "%s/config.json", peers[i].name);
        must(weights_load(&want, path, config, FAMILY_ANY, &err), &err);
        printf("%s\n", peers[i].name);
        for (int k = 0; k < 4; k++) gradients_of(&o, &want, k & 1, k & 2);
        weights_free(&want);
        close_peer(&o);
    }
}

static void gpt2_is_not_trained(void **state) {
    (void)state;
    struct opened o;
    struct transformer *m;
    struct err err = {{0}};
    open_peer(&o, &peers[4]);
    assert_int_equal(
        transformer_open(&m, &o.weights, &(struct transformer_settings){.max_rows = 8, .training = true}, &err), -1);
    assert_non_null(strstr(err.msg, "not trained"));
    assert_null(m);
    close_peer(&o);
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(2, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits), cmocka_unit_test(behind_a_past),
                                       cmocka_unit_test(choices), cmocka_unit_test(gradients),
                                       cmocka_unit_test(gpt2_is_not_trained)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
