/* engine: how near the engine comes to this machine's matmul rate. `make bench`.
 *
 *     build/bench/engine [bf16|f32] [train MODEL LENGTH MICRO_BATCH | forward MODEL LENGTH]
 *
 * First the rate of big square products; then training micro-steps (forward and backward, no optimizer) and generation
 * forwards, counting only the product FLOPs that the algorithm needs: masked rows only in the head, attention included.
 * The rate is measured again before and after each row, and the better one counts, since shared machines drift. Weights
 * are random: values do not change the work. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "compute/gemm.h"
#include "base/rng.h"
#include "compute/linear.h"
#include "train/objective.h"

static void must(int r, const struct err *err) {
    if (r >= 0) return;
    fprintf(stderr, "engine: %s\n", err->msg);
    exit(2);
}

/* Random text: examples of *context ids. */
static int read_random(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    (void)err;
    *e = (struct example){.n = *(const int64_t *)context};
    for (int64_t i = 0; ids && i < e->n; i++)
        ids[i] = (int32_t)rng_below(1, RNG_TEST, (uint64_t)number, (uint64_t)i, 32000);
    return 0;
}

static struct source random_source(int64_t *length) {
    return (struct source){.context = length, .read = read_random, .longest = *length, .group = 1};
}

struct bench {
    struct weights weights;
    struct transformer *model;
    struct prepared prepared;
    float *flat, *grad;
};

static void open_bench(struct bench *b, const char *model, enum dtype precision, int64_t length, int64_t micro,
                       bool training) {
    struct err err = {{0}};
    struct config c;
    struct params p;
    const struct transformer_settings s = {.precision = precision, .max_rows = length * micro, .training = training};
    must(config_named(&c, model, FAMILY_MDM, 32000, &err), &err);
    must(params_init(&p, &c, &err), &err);
    b->flat = mem_alloc(p.total, 4, "weights", &err);
    b->grad = training ? mem_alloc(p.total, 4, "gradient", &err) : NULL;
    must(b->flat && (b->grad || !training) ? 0 : -1, &err);
    params_random(b->flat, &p, 1);
    params_free(&p);
    must(weights_flat(&b->weights, &c, b->flat, &err), &err);
    must(transformer_open(&b->model, &b->weights, &s, &err), &err);
    const struct source source = random_source(&length);
    must(prepared_open(&b->prepared, FAMILY_MDM, &source, micro, &err), &err);
}

static void close_bench(struct bench *b) {
    transformer_close(b->model);
    weights_free(&b->weights);
    prepared_close(&b->prepared);
    mem_free(b->flat);
    mem_free(b->grad);
}

static double rate(enum dtype precision) {
    struct err err = {{0}};
    const double r = linear_rate(precision, &err);
    must(r < 0 ? -1 : 0, &err);
    return r;
}

/* Micro-batch number `k`: random text, masked as in training. */
static void fill(struct bench *b, int64_t length, int64_t micro, int64_t k) {
    const struct objective o = {.family = FAMILY_MDM,
                                .mask_id = (int32_t)b->weights.config.mask_id,
                                .seed = 1,
                                .step_groups = micro,
                                .time = RNG_TIME,
                                .mask = RNG_MASK};
    const struct source source = random_source(&length);
    struct err err = {{0}};
    prepared_clear(&b->prepared);
    for (int64_t i = k * micro; i < (k + 1) * micro; i++)
        must(objective_add(&o, &b->prepared, &source, i, (uint64_t)i, &err), &err);
}

static void train_row(const char *model, enum dtype precision, int64_t length, int64_t micro) {
    struct bench b = {0};
    open_bench(&b, model, precision, length, micro, true);
    double peak = rate(precision);
    double flops = 0, seconds = 0, tokens = 0, best = 0;
    int64_t calls = 0;
    for (int64_t k = 0; k < 2 || (seconds < 5 && k < 60); k++) {
        fill(&b, length, micro, k);
        const int64_t before = mem_calls();
        const double began = clock_seconds();
        transformer_train(b.model, &b.prepared.batch, b.prepared.targets, b.prepared.weight, b.grad);
        const double took = clock_seconds() - began, f = transformer_train_flops(&b.weights, &b.prepared.batch);
        if (k < 1) continue; /* primitives are created */
        flops += f;
        seconds += took;
        tokens += (double)b.prepared.batch.n;
        calls += mem_calls() - before;
        if (f / took > best) best = f / took;
    }
    peak = fmax(peak, rate(precision));
    printf("train    %5s  %5lld x %-3lld %8.0f tokens/s %7.1f GFLOP/s %5.1f %% of the matmul rate (best step %.1f %%), "
           "%.2f GB, %lld allocations\n",
           model, (long long)length, (long long)micro, tokens / seconds, flops / seconds / 1e9,
           100 * flops / seconds / peak, 100 * best / peak, (double)mem_in_use() / 1e9, (long long)calls);
    fflush(stdout);
    close_bench(&b);
}

static void forward_row(const char *model, enum dtype precision, int64_t length) {
    struct bench b = {0};
    open_bench(&b, model, precision, length, 1, false);
    float *logits = malloc((size_t)length * 32000 * 4);
    if (!logits) exit(2);
    double peak = rate(precision);
    double flops = 0, seconds = 0;
    for (int64_t k = 0; k < 3 || (seconds < 4 && k < 60); k++) {
        fill(&b, length, 1, k);
        const double began = clock_seconds();
        transformer_logits(b.model, &b.prepared.batch, logits);
        if (k < 1) continue;
        seconds += clock_seconds() - began;
        flops += transformer_train_flops(&b.weights, &b.prepared.batch) / 3;
    }
    peak = fmax(peak, rate(precision));
    printf("forward  %5s  %5lld x 1   %38.1f GFLOP/s %5.1f %% of the matmul rate\n", model, (long long)length,
           flops / seconds / 1e9, 100 * flops / seconds / peak);
    fflush(stdout);
    free(logits);
    close_bench(&b);
}

int main(int argc, char **argv) {
    struct err err = {{0}};
    must(kernels_init(&err), &err);
    must(gemm_init(cpu_threads(), &err), &err);
    const enum dtype precision = argc > 1 && !strcmp(argv[1], "f32") ? DTYPE_F32 : DTYPE_BF16;
    printf("%s, %d threads, rows %s, bf16 %s\n", cpu_model(), gemm_threads(), kernels->name,
           gemm_native_bf16() ? "native" : "widened to f32");
    printf("matmul 2048^3: f32 %.1f GFLOP/s, bf16 %.1f GFLOP/s\n", rate(DTYPE_F32) / 1e9, rate(DTYPE_BF16) / 1e9);
    if (argc == 6 && !strcmp(argv[2], "train"))
        train_row(argv[3], precision, atoll(argv[4]), atoll(argv[5]));
    else if (argc == 5 && !strcmp(argv[2], "forward"))
        forward_row(argv[3], precision, atoll(argv[4]));
    else {
        static const char *const models[] = {"6", "34", "113"};
        for (int i = 0; i < 3; i++)
            for (int64_t length = 1024; length <= 2048; length *= 2)
                train_row(models[i], precision, length, 4096 / length);
        forward_row("113", precision, 1024);
    }
    return 0;
}
