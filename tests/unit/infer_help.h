/* infer_help: small random models of each kind, and requests run to their end, for the tests of infer/. */
#ifndef MDM_TESTS_INFER_HELP_H
#define MDM_TESTS_INFER_HELP_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <omp.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/gemm.h"
#include "infer/engine.h"
#include "infer/scheduler.h"
#include "model/weights.h"

enum { V = 30, BLOCK = 48, MASK = 30, INSIDE = 11, THREADS = 3 };

enum { SHIFTED = 2, MODELS }; /* an mdm whose logits are those of the next token, the mask inside the vocabulary */
static struct weights models[MODELS]; /* the first two by family */
static float *flat[MODELS];

static inline void open_models(void) {
    struct err err = {0};
    for (int f = 0; f < MODELS; f++) {
        const struct config c = {.family = f == SHIFTED ? FAMILY_MDM : (enum family)f,
                                 .block_size = BLOCK,
                                 .vocab_size = V,
                                 .padded_vocab_size = V,
                                 .mask_id = f == FAMILY_MDM ? MASK
                                            : f == SHIFTED  ? INSIDE
                                                            : -1,
                                 .mask_inside = f == SHIFTED,
                                 .shifted = f == SHIFTED,
                                 .n_layer = 2,
                                 .n_head = 2,
                                 .n_query_groups = 2,
                                 .n_embd = 16,
                                 .intermediate_size = 32,
                                 .norm_eps = 1e-5,
                                 .rope_base = 10000,
                                 .bos_id = -1,
                                 .eos_id = -1};
        struct params p;
        assert_int_equal(params_init(&p, &c, &err), 0);
        flat[f] = mem_alloc(p.total, sizeof **flat, "test model", &err);
        assert_non_null(flat[f]);
        params_random(flat[f], &p, 4);
        for (int64_t i = 0; i < p.total; i++) flat[f][i] *= 2; /* spread the logits */
        params_free(&p);
        assert_int_equal(weights_flat(&models[f], &c, flat[f], &err), 0);
    }
}

static inline void open_engine(struct engine *e, enum family f, int64_t rows_, bool guided) {
    struct err err = {0};
    const struct engine_settings s = {DTYPE_F32, rows_, guided};
    if (engine_open(e, &models[f], &s, &err) < 0) fail_msg("%s", err.msg);
}

static inline void add(struct scheduler *s, struct request *r) {
    struct err err = {0};
    if (scheduler_add(s, r, &err) < 0) fail_msg("%s", err.msg);
}

static inline void run_requests(struct engine *e, struct request *r, int64_t n) {
    struct err err = {0};
    struct scheduler *s;
    assert_int_equal(scheduler_open(&s, e, SCHEDULER_STORES, &err), 0);
    for (int64_t i = 0; i < n; i++) add(s, &r[i]);
    if (scheduler_run(s, &err) < 0) fail_msg("%s", err.msg);
    scheduler_close(s);
    for (int64_t i = 0; i < n; i++) assert_true(r[i].done);
}

/* Requests like `like`, one for each sequence ids[starts[i], starts[i + 1]), as samples first, first + 1, … */
static inline void run_texts(struct engine *e, const struct request *like, int32_t *ids, const int64_t *starts,
                             int64_t nseq) {
    struct err err = {0};
    struct request *r = mem_alloc(nseq, sizeof *r, "test requests", &err);
    assert_non_null(r);
    for (int64_t i = 0; i < nseq; i++) {
        r[i] = *like;
        r[i].ids = ids + starts[i];
        r[i].n = r[i].room = starts[i + 1] - starts[i];
        r[i].sample += (uint64_t)i;
    }
    run_requests(e, r, nseq);
    mem_free(r);
}

/* One thread computes, unless a test says otherwise. */
static inline int infer_setup(void **state) {
    (void)state;
    struct err err = {0};
    if (kernels_init(&err) < 0 || gemm_init(THREADS, &err) < 0) fail_msg("%s", err.msg);
    omp_set_num_threads(1);
    open_models();
    return 0;
}

static inline int infer_teardown(void **state) {
    (void)state;
    for (int f = 0; f < MODELS; f++) {
        weights_free(&models[f]);
        mem_free(flat[f]);
    }
    return 0;
}

#endif
