/* train_help: a tiny corpus of made-up tokens, a tiny model and one run of the trainer on them, for the tests of
 * train/. */
#ifndef MDM_TESTS_TRAIN_HELP_H
#define MDM_TESTS_TRAIN_HELP_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "compute/gemm.h"
#include "data/chunk.h"
#include "data/loader.h"
#include "train/checkpoint.h"
#include "train/trainer.h"
#include "scratch.h"

enum { VOCAB = 50, LENGTH = 24 };

static char *scratch;

static inline void must(int r, const struct err *err) {
    if (r < 0) fail_msg("%s", err->msg);
}

static inline void train_setup(void) {
    struct err err = {{0}};
    scratch = scratch_new();
    progress_quiet = true;
    must(kernels_init(&err), &err);
    must(gemm_init(2, &err), &err);
    char data[FILE_PATH_MAX];
    must(file_join(data, scratch, "data", &err), &err);
    must(file_mkdirs(data, &err), &err);
    struct chunk_writer *w = chunk_writer_open(data, "train_test", 0, VOCAB, 4000, &err);
    must(w ? 0 : -1, &err);
    for (int i = 0; i < 9000; i++) { /* each token mostly follows from the one before */
        const int32_t id = rng_uniform(1, RNG_TEST, 0, (uint64_t)i) < 0.8
                               ? i * 7 % VOCAB
                               : (int32_t)rng_below(2, RNG_TEST, 0, (uint64_t)i, VOCAB);
        must(chunk_writer_add(w, &id, 1, &err), &err);
    }
    must(chunk_writer_close(w, NULL, NULL, &err), &err);
}

static inline void train_teardown(void) {
    scratch_free(scratch);
}

static inline struct loader *open_data(enum family family) {
    struct err err = {{0}};
    char data[FILE_PATH_MAX];
    must(file_join(data, scratch, "data", &err), &err);
    struct loader *l;
    must(loader_open(
             &l, &(struct loader_source){.path = data, .weight = 1}, 1,
             &(struct loader_settings){
                 .block = LENGTH + 1, .vocab = VOCAB, .window = 8, .seed = 3, .take = LENGTH + (family == FAMILY_ARM)},
             &err),
         &err);
    return l;
}

/* Settings of a run named `name` below the scratch folder (path: the caller's buffer, FILE_PATH_MAX). */
static inline struct trainer_settings tiny_run(char *path, const char *name, enum family family, int64_t steps) {
    struct err err = {{0}};
    must(file_join(path, scratch, name, &err), &err);
    must(file_mkdirs(path, &err), &err);
    struct trainer_settings s = {.run = path,
                                 .precision = DTYPE_F32,
                                 .seed = 5,
                                 .batch = 6,
                                 .micro_batch = 6,
                                 .random_length = 0.2,
                                 .beta1 = 0.9,
                                 .beta2 = 0.95,
                                 .eps = 1e-8,
                                 .weight_decay = 0.1,
                                 .clip = 1,
                                 .save_every = 1000,
                                 .eval_every = 1000,
                                 .keep = 2,
                                 .valid_examples = 4,
                                 .mc = 3};
    s.config = (struct config){.family = family,
                               .block_size = LENGTH,
                               .vocab_size = VOCAB,
                               .padded_vocab_size = 64,
                               .mask_id = family == FAMILY_MDM ? 64 : -1,
                               .n_layer = 2,
                               .n_head = 4,
                               .n_query_groups = 2,
                               .n_embd = 32,
                               .intermediate_size = 48,
                               .norm_eps = 1e-5,
                               .rope_base = 10000,
                               .rope_bf16 = true,
                               .bos_id = -1,
                               .eos_id = -1};
    s.schedule = (struct schedule){.steps = steps, .warmup = 3, .lr = 3e-3, .min_lr = 3e-4};
    return s;
}

/* All that makes training cheaper at once. */
static inline void make_cheap(struct trainer_settings *s) {
    s->stratified = s->complementary = s->muon = true;
    s->bell = s->flatten = 0.5;
    s->momentum = 0.9;
    s->schedule.decay = 0.5;
}

/* Opens and runs the trainer on any source; -1 with err. */
static inline int try_run(const struct trainer_settings *s, const struct source *train, const struct source *valid,
                          struct trainer_result *r, struct err *err) {
    struct trainer *t;
    if (trainer_open(&t, s, train, valid, err) < 0) return -1;
    const int status = trainer_run(t, r, err);
    trainer_close(t);
    return status;
}

/* The same on the corpus. */
static inline int try_train(const struct trainer_settings *s, struct trainer_result *r, struct err *err) {
    struct loader *l = open_data(s->config.family);
    const struct source source = source_of_blocks(l);
    const int status = try_run(s, &source, NULL, r, err);
    loader_close(l);
    return status;
}

static inline struct trainer_result train_run(const struct trainer_settings *s) {
    struct err err = {{0}};
    struct trainer_result r;
    must(try_train(s, &r, &err), &err);
    return r;
}

/* Weights and moments of a run outside any trainer: w, then m, then v. */
struct whole {
    struct params params;
    struct shards shards;
    float *w, *m, *v;
};

static inline void whole_open(struct whole *a, const struct trainer_settings *s) {
    struct err err = {{0}};
    must(params_init(&a->params, &s->config, &err), &err);
    must(shards_open(&a->shards, &a->params, SHARD_NONE, &err), &err);
    a->w = calloc((size_t)a->params.total * 3, 4);
    a->m = a->w + a->params.total;
    a->v = a->m + a->params.total;
}

/* Takes w along unless `keep`. */
static inline void whole_close(struct whole *a, bool keep) {
    shards_close(&a->shards);
    params_free(&a->params);
    if (!keep) free(a->w);
}

/* The flat weights and moments of the newest checkpoint; caller frees. */
static inline float *final_weights(const struct trainer_settings *s, int64_t *n) {
    struct err err = {{0}};
    struct whole a;
    struct checkpoint c;
    whole_open(&a, s);
    assert_int_equal(checkpoint_load(s->run, &c, &a.shards, &s->config, a.w, a.m, a.v, &err), 1);
    assert_int_equal(c.step, s->schedule.steps);
    *n = a.params.total * 3;
    whole_close(&a, true);
    return a.w;
}

/* Has the run `s` ended with these weights and moments, to the last bit? */
static inline void assert_same(const struct trainer_settings *s, const float *want, int64_t n) {
    int64_t m;
    float *got = final_weights(s, &m);
    assert_int_equal(n, m);
    assert_memory_equal(got, want, (size_t)n * 4);
    free(got);
}

#endif
