/* decode: how fast a left-to-right model reads a prompt and goes on from it, one sequence and eight at once; and how fast
 * a masked diffusion model of that shape unmasks a sequence.
 *
 *     build/bench/decode f32|bf16 [MODEL [PROMPT [STEPS]]]          (170, 512 tokens, 32 steps)
 *     build/bench/decode f32|bf16 MODEL LENGTH STEPS unmask
 *
 * A line each: tokens a second, and for steps also the weights' bytes read a second beside what a plain read of as many
 * gets between the steps: every step reads all of them once, so that is the floor (keys and values come to it). Weights are random, keys and values are kept as bf16; logits are made
 * and nothing is chosen from them. Unmasking writes all of LENGTH tokens in STEPS steps by confidence. bench/compare_llama.py runs this beside llama.cpp. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "compute/gemm.h"
#include "infer/engine.h"
#include "infer/scheduler.h"
#include "model/kvstore.h"
#include "model/transformer.h"

enum { MOST = 8 };

static struct err err;

static void must(int r) {
    if (r >= 0) return;
    fprintf(stderr, "decode: %s\n", err.msg);
    exit(2);
}

struct bench {
    struct transformer *model;
    struct kvstore *store[MOST];
    int32_t *tokens;
    float *logits;
    const float *memory; /* more than `bytes` */
    double bytes;        /* of the weights that a step reads */
};

/* The next `rows` tokens of each of n sequences; logits of the last. Seconds. */
static double go_on(struct bench *b, int64_t n, int64_t rows) {
    int64_t starts[MOST + 1], last[MOST];
    for (int64_t s = 0; s <= n; s++) starts[s] = s * rows;
    for (int64_t s = 0; s < n; s++) last[s] = (s + 1) * rows - 1;
    const struct batch batch = {.tokens = b->tokens,
                                .starts = starts,
                                .wanted = last,
                                .n = n * rows,
                                .nseq = n,
                                .nwanted = n,
                                .past = b->store,
                                .append = true};
    const double began = clock_seconds();
    transformer_logits(b->model, &batch, b->logits);
    for (int64_t s = 0; s < n; s++) kvstore_commit(b->store[s], rows);
    return clock_seconds() - began;
}

/* Seconds in which the threads read as many bytes as a step does, and no more. */
static double plain_read(const struct bench *b) {
    const int64_t threads = gemm_threads(), share = (int64_t)(b->bytes / 4) / threads;
    float sum = 0;
    const double began = clock_seconds();
#pragma omp parallel for num_threads(gemm_team()) reduction(+ : sum)
    for (int64_t i = 0; i < threads; i++) {
        const float *p = b->memory + i * share;
        sum += kernels->dot(p, DTYPE_F32, p, DTYPE_F32, share);
    }
    must(isnan(sum) ? -1 : 0); /* so that it is not left out */
    return clock_seconds() - began;
}

/* The best of three prompts, and the mean step after them. */
static void measure(struct bench *b, int64_t n, int64_t prompt, int64_t steps) {
    double best = 1e9, seconds = 0, plain = 0;
    for (int turn = 0; turn < 3; turn++) {
        for (int64_t s = 0; s < n; s++) kvstore_truncate(b->store[s], 0);
        double took = 0;
        for (int64_t s = 0; s < n; s++) { /* one by one: the model is opened for one prompt's rows */
            struct bench one = *b;
            one.store[0] = b->store[s];
            took += go_on(&one, 1, prompt);
        }
        if (took < best) best = took;
    }
    go_on(b, n, 1);
    for (int64_t i = 0; i < steps; i++) {
        seconds += go_on(b, n, 1);
        plain += plain_read(b);
    }
    if (n == 1) printf("prompt %lld: %.1f tokens/s\n", (long long)prompt, (double)prompt / best);
    printf("steps of %lld: %.2f tokens/s, %.1f GB/s of weights; a plain read of them %.1f GB/s, %.0f %% of the time\n",
           (long long)n, (double)(n * steps) / seconds, b->bytes * (double)steps / seconds / 1e9,
           b->bytes * (double)steps / plain / 1e9, 100 * plain / seconds);
    fflush(stdout);
}

/* The second of two runs: the first makes what later ones have. */
static void unmask(const char *model, enum dtype t, int64_t length, int64_t steps) {
    struct config c;
    struct params p;
    struct weights w;
    struct engine e;
    struct scheduler *s;
    double took = 0;
    must(config_named(&c, model, FAMILY_MDM, 32000, &err));
    must(params_init(&p, &c, &err));
    float *flat = mem_alloc(p.total, 4, "weights", &err);
    int32_t *ids = mem_alloc(length, sizeof *ids, "tokens", &err);
    must(flat && ids ? 0 : -1);
    params_random(flat, &p, 1);
    params_free(&p);
    must(weights_flat(&w, &c, flat, &err));
    must(engine_open(&e, &w, &(struct engine_settings){.precision = t, .max_rows = length}, &err));
    must(scheduler_open(&s, &e, SCHEDULER_STORES, &err));
    for (int turn = 0; turn < 2; turn++) {
        struct request r = {.sampler = &sampler_confidence, .ids = ids, .n = length, .room = length, .steps = steps};
        for (int64_t i = 0; i < length; i++) ids[i] = (int32_t)c.mask_id;
        must(scheduler_add(s, &r, &err));
        const double began = clock_seconds();
        must(scheduler_run(s, &err));
        took = clock_seconds() - began;
    }
    printf("unmasking %lld: %.4f s a step\n", (long long)length, took / (double)steps);
    scheduler_close(s);
    engine_close(&e);
    weights_free(&w);
    mem_free(ids);
    mem_free(flat);
}

int main(int argc, char **argv) {
    const enum dtype t = argc > 1 && !strcmp(argv[1], "f32") ? DTYPE_F32 : DTYPE_BF16;
    const int64_t prompt = argc > 3 ? atoll(argv[3]) : 512, steps = argc > 4 ? atoll(argv[4]) : 32;
    struct bench b = {0};
    struct config c;
    struct params p;
    struct weights w;
    must(kernels_init(&err));
    must(gemm_init(cpu_threads(), &err));
    if (argc > 5 && !strcmp(argv[5], "unmask")) {
        unmask(argv[2], t, prompt, steps);
        return 0;
    }
    must(config_named(&c, argc > 2 ? argv[2] : "170", FAMILY_ARM, 32000, &err));
    must(params_init(&p, &c, &err));
    float *flat = mem_alloc(p.total, 4, "weights", &err);
    must(flat ? 0 : -1);
    params_random(flat, &p, 1);
    b.bytes = (double)(p.total - c.padded_vocab_size * c.n_embd) * (double)dtype_size(t); /* all but the embedding */
    b.memory = flat;
    params_free(&p);
    must(weights_flat(&w, &c, flat, &err));
    const struct transformer_settings s = {.precision = t, .max_rows = prompt > MOST ? prompt : MOST};
    must(transformer_open(&b.model, &w, &s, &err));
    for (int i = 0; i < MOST; i++) must(kvstore_open(&b.store[i], &c, prompt + 2 * steps + 2, DTYPE_BF16, &err));
    b.tokens = mem_alloc(s.max_rows, sizeof *b.tokens, "tokens", &err);
    b.logits = mem_alloc(MOST * c.padded_vocab_size, 4, "logits", &err);
    must(b.tokens && b.logits ? 0 : -1);
    for (int64_t i = 0; i < s.max_rows; i++) b.tokens[i] = (int32_t)rng_below(1, RNG_TEST, 0, (uint64_t)i, 32000);
    measure(&b, 1, prompt, steps);
    measure(&b, MOST, prompt, steps);
    for (int i = 0; i < MOST; i++) kvstore_close(b.store[i]);
    transformer_close(b.model);
    weights_free(&w);
    mem_free(b.tokens);
    mem_free(b.logits);
    mem_free(flat);
    return 0;
}
