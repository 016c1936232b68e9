/* Samples at temperature 0, token for token as the oracle's: confidence sampling with and without guidance, greedy
 * decoding with the cache. Alone, and beside other sequences in one batch. */
#include "golden/golden.h"

#include <stdlib.h>

#include "compute/gemm.h"
#include "infer/engine.h"
#include "infer/scheduler.h"

enum { COPIES = 3, LONGEST = 4096 };

static int32_t ids[COPIES * LONGEST], want[LONGEST];

static int64_t read_ids(int32_t *out, const json_t *o, const char *key) {
    const json_t *list = json_object_get(o, key);
    const int64_t n = (int64_t)json_array_size(list);
    assert_true(n > 0 && n <= LONGEST);
    for (int64_t i = 0; i < n; i++) out[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return n;
}

static int64_t get_int(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static void must_equal(const struct golden *g, int64_t number, const int32_t *got, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s: sample %lld: token %lld is %d, the oracle's is %d", g->dir, (long long)number, (long long)i,
                     got[i], want[i]);
}

static void run(struct engine *e, struct request *r, int64_t n) {
    struct err err = {0};
    struct scheduler *s;
    golden_must(scheduler_open(&s, e, SCHEDULER_STORES, &err), &err);
    for (int64_t i = 0; i < n; i++) golden_must(scheduler_add(s, &r[i], &err), &err);
    golden_must(scheduler_run(s, &err), &err);
    scheduler_close(s);
}

/* The case, then a shorter companion (the case's prompt with fewer masks), then the case again. */
static void check_mdm(struct golden *g, const json_t *o, int64_t number) {
    struct err err = {0};
    struct engine e;
    const double cfg = json_number_value(json_object_get(o, "cfg_scale"));
    const int64_t length = get_int(o, "length"), n = read_ids(want, o, "ids"), steps = get_int(o, "steps");
    assert_int_equal(n, length);
    const int64_t starts[COPIES + 1] = {0, length, 2 * length - 2, 3 * length - 2};
    for (int together = 0; together < 2; together++) {
        const int64_t nseq = together ? COPIES : 1;
        const struct engine_settings es = {DTYPE_F32, engine_rows(nseq, length, cfg > 0), cfg > 0};
        struct request r[COPIES];
        for (int64_t i = 0; i < starts[COPIES]; i++) ids[i] = (int32_t)g->weights.config.mask_id;
        for (int64_t c = 0; c < COPIES; c++) {
            const int64_t own = starts[c + 1] - starts[c];
            read_ids(ids + starts[c], o, "prompt");
            r[c] = (struct request){.sampler = &sampler_confidence,
                                    .ids = ids + starts[c],
                                    .n = own,
                                    .room = own,
                                    .steps = steps,
                                    .cfg = cfg};
        }
        golden_must(engine_open(&e, &g->weights, &es, &err), &err);
        run(&e, r, nseq);
        engine_close(&e);
        must_equal(g, number, ids, length);
        if (together) must_equal(g, number, ids + starts[2], length);
        for (int64_t c = 0; c < nseq; c++) {
            assert_int_equal(r[c].nfe, steps * (cfg > 0 ? 2 : 1));
            assert_true(r[c].evaluations <= r[c].nfe);
        }
    }
}

/* The case, beside its own result cut short as a longer prompt: that must go on the same way. */
static void check_arm(struct golden *g, const json_t *o, int64_t number) {
    struct err err = {0};
    struct engine e;
    const int64_t length = get_int(o, "length"), n = read_ids(want, o, "ids");
    const int64_t prompt = read_ids(ids, o, "prompt"), longer = (prompt + n) / 2;
    memcpy(ids + length, want, (size_t)longer * sizeof *ids);
    for (int64_t nseq = 1; nseq <= 2; nseq++) {
        const struct engine_settings es = {DTYPE_F32, engine_rows(nseq, length, false), false};
        struct request r[2];
        for (int64_t c = 0; c < 2; c++)
            r[c] = (struct request){.sampler = &sampler_causal,
                                    .ids = ids + c * length,
                                    .n = c ? longer : prompt,
                                    .room = length,
                                    .steps = length,
                                    .end_id = (int32_t)get_int(o, "eos_id")};
        golden_must(engine_open(&e, &g->weights, &es, &err), &err);
        run(&e, r, nseq);
        engine_close(&e);
        for (int64_t c = 0; c < nseq; c++) {
            assert_int_equal(r[c].n, n);
            must_equal(g, number, r[c].ids, n);
            assert_int_equal(r[c].nfe, n - (c ? longer : prompt));
        }
    }
}

static void check(struct golden *g, void *ctx) {
    const json_t *list = golden_list(g, "sample"), *o;
    size_t i;
    json_array_foreach(list, i, o) {
        if (g->weights.config.family == FAMILY_MDM)
            check_mdm(g, o, (int64_t)i);
        else
            check_arm(g, o, (int64_t)i);
        ++*(int *)ctx;
    }
}

static void samples(void **state) {
    (void)state;
    int count = 0;
    golden_each(check, &count);
    printf("%d samples equal the oracle's\n", count);
    assert_true(count >= 15);
}

int main(void) {
    struct err err = {0};
    if (kernels_init(&err) < 0 || gemm_init(1, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(samples)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
