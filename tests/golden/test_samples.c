/* Samples at temperature 0, token for token as the oracle's: confidence sampling with and without guidance, greedy
 * decoding with the cache. Alone, and beside other sequences in one batch. */
#include "golden/golden.h"

#include <stdlib.h>

#include "compute/gemm.h"
#include "infer/engine.h"
#include "infer/generate_arm.h"
#include "infer/generate_mdm.h"

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

/* The case, then a shorter companion (the case's prompt with fewer masks), then the case again. */
static void check_mdm(struct golden *g, const json_t *o, int64_t number) {
    struct err err = {0};
    struct engine e;
    const double cfg = json_number_value(json_object_get(o, "cfg_scale"));
    const int64_t length = get_int(o, "length"), n = read_ids(want, o, "ids");
    assert_int_equal(n, length);
    const int64_t starts[COPIES + 1] = {0, length, 2 * length - 2, 3 * length - 2};
    const struct generate_mdm s = {.sampler = SAMPLER_CONFIDENCE, .steps = get_int(o, "steps"), .cfg = cfg};
    struct generate_stats stats;
    for (int together = 0; together < 2; together++) {
        const int64_t nseq = together ? COPIES : 1;
        const struct engine_settings es = {DTYPE_F32, engine_rows(nseq, length, cfg > 0), cfg > 0};
        for (int64_t i = 0; i < starts[COPIES]; i++) ids[i] = (int32_t)g->weights.config.mask_id;
        for (int64_t c = 0; c < COPIES; c++) read_ids(ids + starts[c], o, "prompt");
        golden_must(engine_open(&e, &g->weights, &es, &err), &err);
        golden_must(generate_mdm(&e, &s, ids, NULL, starts, nseq, &stats, &err), &err);
        engine_close(&e);
        must_equal(g, number, ids, length);
        if (together) must_equal(g, number, ids + starts[2], length);
        assert_int_equal(stats.nfe, s.steps * (cfg > 0 ? 2 : 1));
        assert_true(stats.evaluations <= stats.nfe * nseq);
    }
}

/* The case, beside its own result cut short as a longer prompt: that must go on the same way. */
static void check_arm(struct golden *g, const json_t *o, int64_t number) {
    struct err err = {0};
    struct engine e;
    const int64_t length = get_int(o, "length"), n = read_ids(want, o, "ids");
    const int64_t prompt = read_ids(ids, o, "prompt"), longer = (prompt + n) / 2;
    const int64_t starts[3] = {0, length, 2 * length};
    int64_t lengths[2] = {prompt, longer};
    memcpy(ids + length, want, (size_t)longer * sizeof *ids);
    const struct generate_arm s = {.end_id = (int32_t)get_int(o, "eos_id")};
    struct generate_stats stats;
    for (int64_t nseq = 1; nseq <= 2; nseq++) {
        const struct engine_settings es = {DTYPE_F32, engine_rows(nseq, length, false), false};
        lengths[0] = prompt;
        golden_must(engine_open(&e, &g->weights, &es, &err), &err);
        golden_must(generate_arm(&e, &s, ids, starts, lengths, nseq, &stats, &err), &err);
        engine_close(&e);
        assert_int_equal(lengths[0], n);
        must_equal(g, number, ids, n);
        assert_int_equal(stats.nfe, n - prompt);
    }
    assert_int_equal(lengths[1], n);
    must_equal(g, number, ids + length, n);
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
