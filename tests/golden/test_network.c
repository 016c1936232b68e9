/* The network against the oracle: logits, loss, every gradient, three AdamW steps; f32 to 1e-5 relative, ‖got − want‖ /
 * ‖want‖ of each tensor. With and without recomputation, for the wanted rows alone, and with every part served from one
 * buffer that is NaN before and after. */
#include "golden.h"

#include <math.h>
#include <stdlib.h>

#include "compute/gemm.h"
#include "compute/ops.h"
#include "golden/visiting.h"
#include "model/transformer.h"
#include "train/optimizer.h"

/* ‖got − want‖ / ‖want‖. */
static double distance(const float *got, const float *want, int64_t n) {
    double d = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    assert_true(isfinite(d) && norm > 0);
    return sqrt(d / norm);
}

/* distance() after AdamW. A first step is lr·g/|g|: where |g| is within float32 rounding of zero its sign is chance, in
 * the oracle as here, and such elements are left out (and counted). */
static double step_distance(const float *got, const float *want, const float *grad, int64_t n, int64_t *excused) {
    double d = 0, norm = 0;
    float largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmaxf(largest, fabsf(grad[i]));
    for (int64_t i = 0; i < n; i++) {
        norm += (double)want[i] * want[i];
        if (fabsf(grad[i]) <= 1e-5f * largest && grad[i] != 0)
            ++*excused;
        else
            d += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    }
    return sqrt(d / norm);
}

static struct transformer *open_model(struct golden *g, bool training, bool recompute, enum dtype precision) {
    struct err err = {{0}};
    struct transformer *m;
    const struct transformer_settings s = {
        .precision = precision, .max_rows = 128, .training = training, .recompute = recompute};
    golden_must(transformer_open(&m, &g->weights, &s, &err), &err);
    return m;
}

static void check_logits(struct golden *g, void *ctx) {
    (void)ctx;
    const struct st_tensor *ids = golden_tensor(g, "forward/ids", "I32");
    const int64_t B = ids->shape[0], T = ids->shape[1], V = g->weights.config.padded_vocab_size;
    const int64_t starts[] = {0, T, 2 * T};
    const float *want = golden_f32(g, "forward/logits");
    assert_int_equal(B, 2);
    struct transformer *m = open_model(g, false, false, DTYPE_F32);
    float *logits = calloc((size_t)(B * T * V), 4);
    const struct batch all = {.tokens = ids->data, .starts = starts, .n = B * T, .nseq = B};
    transformer_logits(m, &all, logits);
    const double worst = distance(logits, want, B * T * V);
    printf("%s: logits differ by %.1e relative\n", g->dir, worst);
    assert_true(worst <= 1e-5);

    const int64_t wanted[] = {0, 1, 17, T - 1, T, T + 30};
    struct batch some = all;
    some.wanted = wanted;
    some.nwanted = 6;
    transformer_logits(m, &some, logits);
    for (int i = 0; i < 6; i++) assert_true(distance(logits + i * V, want + wanted[i] * V, V) <= 1e-5);

    const struct batch second = {.tokens = (const int32_t *)ids->data + T, .starts = starts, .n = T, .nseq = 1};
    transformer_logits(m, &second, logits); /* alone: the same as in company */
    assert_true(distance(logits, want + T * V, T * V) <= 1e-5);
    transformer_close(m);

    m = open_model(g, false, false, DTYPE_BF16);
    transformer_logits(m, &all, logits);
    const double narrow = distance(logits, want, B * T * V);
    printf("%s: bf16 logits differ by %.1e relative\n", g->dir, narrow);
    assert_true(narrow <= 3e-2 && narrow > 1e-5); /* bf16 keeps 8 bits: 4e-3 a rounding, some dozen of them in a row */
    transformer_close(m);
    free(logits);
}

struct example { /* the loss case as a batch */
    struct batch batch;
    int32_t tokens[128], targets[128];
    int64_t starts[3], wanted[128];
    float weight[128];
};

static void load_example(struct golden *g, struct example *e) {
    const struct st_tensor *ids = golden_tensor(g, "loss/ids", "I32");
    const bool mdm = g->weights.config.family == FAMILY_MDM;
    const int64_t T = ids->shape[1] - !mdm, stride = ids->shape[1];
    const int32_t *v = ids->data;
    *e = (struct example){.starts = {0, T, 2 * T}};
    e->batch = (struct batch){
        .tokens = e->tokens, .starts = e->starts, .n = 2 * T, .nseq = 2, .wanted = mdm ? e->wanted : NULL};
    for (int64_t i = 0; i < 2 * T; i++) {
        const int64_t at = i / T * stride + i % T;
        const bool masked = mdm && golden_u8(g, "loss/masked")[at];
        e->tokens[i] = masked ? (int32_t)g->weights.config.mask_id : v[at];
        if (mdm && !masked) continue;
        const int64_t k = mdm ? e->batch.nwanted++ : i;
        e->wanted[k] = i;
        e->targets[k] = mdm ? v[at] : v[at + 1];
        e->weight[k] = 1.0f / (float)(2 * T) / (mdm ? golden_f32(g, "loss/p_mask")[i / T] : 1);
    }
}

/* The same with parts that come and go, in both precisions: bit for bit. The first part is asked for without warning. */
static void check_visits(struct golden *g, void *ctx) {
    (void)ctx;
    struct example e;
    struct err err = {{0}};
    const int64_t V = g->weights.config.padded_vocab_size, total = g->weights.params.total;
    load_example(g, &e);
    for (int k = 0; k < 4; k++) {
        struct transformer_settings s = {
            .precision = k & 1 ? DTYPE_BF16 : DTYPE_F32, .max_rows = 128, .training = true, .recompute = k & 2};
        struct transformer *stays = open_model(g, true, s.recompute, s.precision), *goes;
        struct visiting v;
        float *z[2] = {calloc((size_t)(128 * V), 4), calloc((size_t)(128 * V), 4)}, *grad = calloc((size_t)total, 4);
        visiting_open(&v, &g->weights, &s);
        golden_must(transformer_open(&goes, &g->weights, &s, &err), &err);
        transformer_logits(stays, &e.batch, z[0]);
        transformer_logits(goes, &e.batch, z[1]);
        assert_memory_equal(z[0], z[1], (size_t)(128 * V) * 4);
        v.entered = 0;
        const double one = transformer_train(stays, &e.batch, e.targets, e.weight, grad),
                     two = transformer_train(goes, &e.batch, e.targets, e.weight, NULL);
        assert_true(one == two);
        assert_memory_equal(grad, v.gradient, (size_t)total * 4);
        assert_int_equal(v.entered, 2 * g->weights.config.n_layer + 3);
        transformer_close(stays);
        transformer_close(goes);
        visiting_close(&v);
        free(z[0]);
        free(z[1]);
        free(grad);
    }
}

static void check_gradients(struct golden *g, void *ctx) {
    const bool recompute = *(bool *)ctx;
    const struct params *p = &g->weights.params;
    struct example e;
    load_example(g, &e);
    struct transformer *m = open_model(g, true, recompute, DTYPE_F32);
    float *grad = calloc((size_t)p->total, 4);
    const double loss = transformer_train(m, &e.batch, e.targets, e.weight, grad),
                 want = golden_number(g, "loss", "value");
    double worst = 0;
    float *all = calloc((size_t)p->total, 4);
    for (int i = 0; i < p->count; i++) {
        const double d = distance(grad + p->v[i].offset, golden_param(g, "loss/grad", i), p->v[i].rows * p->v[i].cols);
        memcpy(all + p->v[i].offset, golden_param(g, "loss/grad", i), (size_t)(p->v[i].rows * p->v[i].cols) * 4);
        if (d > 1e-5) print_error("%s: gradient of %s differs by %.1e\n", g->dir, p->v[i].name, d);
        if (d > worst) worst = d;
    }
    const double whole = distance(grad, all, p->total);
    printf("%s: loss differs by %.1e, the gradient by %.1e, its worst tensor by %.1e relative\n", g->dir,
           fabs(loss - want) / want, whole, worst);
    assert_true(fabs(loss - want) <= 1e-5 * want);
    assert_true(whole <= 1e-5);
    /* Of single tensors the float32 oracle itself is up to 9.4e-6 away from the same oracle in float64 (the reference's
     * mdm-gqa). */
    assert_true(worst <= 2e-5);
    free(all);
    free(grad);
    transformer_close(m);
}

static void check_adamw(struct golden *g, void *ctx) {
    (void)ctx;
    const struct params *p = &g->weights.params;
    const json_t *losses = json_object_get(json_object_get(g->json, "adamw"), "losses"),
                 *norms = json_object_get(json_object_get(g->json, "adamw"), "grad_norms");
    struct example e;
    load_example(g, &e);
    struct transformer *m = open_model(g, true, false, DTYPE_F32);
    float *grad = calloc((size_t)p->total, 4), *mv = calloc((size_t)p->total * 2, 4);
    const struct optimizer o = {.beta1 = 0.9,
                                .beta2 = 0.95,
                                .eps = 1e-8,
                                .weight_decay = 0.1,
                                .clip = 1.0,
                                .m = mv,
                                .v = mv + p->total,
                                .n = p->total};
    for (int step = 0; step < 3; step++) {
        memset(grad, 0, (size_t)p->total * 4);
        const double loss = transformer_train(m, &e.batch, e.targets, e.weight, grad);
        double squares = 0;
        for (int64_t i = 0; i < p->total; i++) squares += (double)grad[i] * grad[i];
        const double norm = sqrt(squares);
        const double want_loss = json_number_value(json_array_get(losses, (size_t)step)),
                     want_norm = json_number_value(json_array_get(norms, (size_t)step));
        /* Once a step has taken such chance signs, norms wander: the third one of the reference's mdm-gqa is 18.685163
         * there, 18.684879 by the same oracle in float64, and 18.684957 to 18.685192 by it in float32 with other
         * instruction sets. */
        const double norm_tolerance = step == 0 ? 1e-5 : 4e-5;
        if (fabs(loss - want_loss) > 1e-5 * want_loss)
            print_error("%s: step %d: loss %.9g, not %.9g\n", g->dir, step, loss, want_loss);
        if (fabs(norm - want_norm) > norm_tolerance * want_norm)
            print_error("%s: step %d: norm %.9g, not %.9g\n", g->dir, step, norm, want_norm);
        assert_true(fabs(loss - want_loss) <= 1e-5 * want_loss);
        assert_true(fabs(norm - want_norm) <= norm_tolerance * want_norm);
        optimizer_step(&o, g->flat, grad, norm, golden_number(g, "adamw", "lr"), step + 1);
        transformer_refresh(m);
    }
    double worst = 0;
    int64_t excused = 0;
    for (int i = 0; i < p->count; i++) {
        const double d = step_distance(g->flat + p->v[i].offset, golden_param(g, "adamw/param", i),
                                       golden_param(g, "loss/grad", i), p->v[i].rows * p->v[i].cols, &excused);
        if (d > worst) worst = d;
    }
    printf("%s: parameters after three steps differ by %.1e relative; %lld of %lld left out\n", g->dir, worst,
           (long long)excused, (long long)p->total);
    assert_true(worst <= 1e-5);
    assert_true(excused * 1000 < p->total);
    free(grad);
    free(mv);
    transformer_close(m);
}

static void logits(void **state) {
    (void)state;
    golden_each(check_logits, NULL);
}

static void gradients(void **state) {
    (void)state;
    golden_each(check_gradients, &(bool){false});
}

static void gradients_recomputed(void **state) {
    (void)state;
    golden_each(check_gradients, &(bool){true});
}

static void parts_come_and_go(void **state) {
    (void)state;
    golden_each(check_visits, NULL);
}

static void three_adamw_steps(void **state) {
    (void)state;
    golden_each(check_adamw, NULL);
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(2, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits), cmocka_unit_test(gradients),
                                       cmocka_unit_test(gradients_recomputed), cmocka_unit_test(parts_come_and_go),
                                       cmocka_unit_test(three_adamw_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
