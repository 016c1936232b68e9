/* schedule: how busy a training step would keep more threads than this machine has.
 *
 *     build/bench/schedule [bf16|f32] [MODEL THREADS]...
 *
 * Work is cut as for so many threads, every task runs in one, and its processor time is taken; then each loop's tasks are
 * given out in their order, each to the thread that is free first, as OpenMP's dynamic schedule does. Efficiency is the
 * sum of all times over threads times the sum of the loops' ends. Loops over single rows (norms, activations,
 * conversions) are not watched: they are counted as shared evenly, and their share of the time is printed. So are limits
 * of memory bandwidth not in it. The network has two layers and one layer of the model's widths; from both follows the
 * whole one. 8192 rows in sequences of 2048, half of them wanted. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/gemm.h"
#include "compute/tasks.h"
#include "model/transformer.h"

enum { ROWS = 8192, LENGTH = 2048, MOST_THREADS = 1024 };

static void must(int r, const struct err *err) {
    if (r >= 0) return;
    fprintf(stderr, "schedule: %s\n", err->msg);
    exit(2);
}

static int threads;
static struct times { double all, tasks, ends; /* of the step; of its tasks; when the loops would end, summed */ } now;

static void schedule(int64_t count, const double *seconds) {
    double free_at[MOST_THREADS] = {0}, end = 0;
    for (int64_t i = 0; i < count; i++) {
        int first = 0;
        for (int t = 1; t < threads; t++)
            if (free_at[t] < free_at[first]) first = t;
        free_at[first] += seconds[i];
        if (free_at[first] > end) end = free_at[first];
        now.tasks += seconds[i];
    }
    now.ends += end;
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct times measure(const struct config *whole, int layers, enum dtype precision) {
    struct err err = {{0}};
    struct config c = *whole;
    struct params p;
    struct weights w;
    struct transformer *m;
    const struct transformer_settings s = {.precision = precision, .max_rows = ROWS, .training = true};
    c.n_layer = layers;
    must(params_init(&p, &c, &err), &err);
    float *flat = mem_alloc(p.total, 4, "weights", &err), *grad = mem_alloc(p.total, 4, "gradient", &err);
    must(flat && grad ? 0 : -1, &err);
    params_random(flat, &p, 1);
    must(weights_flat(&w, &c, flat, &err), &err);
    must(transformer_open(&m, &w, &s, &err), &err);
    static int32_t tokens[ROWS], targets[ROWS];
    static float weight[ROWS];
    static int64_t wanted[ROWS / 2], starts[ROWS / LENGTH + 1];
    for (int64_t i = 0; i < ROWS; i++) tokens[i] = (int32_t)rng_below(1, RNG_TEST, 0, (uint64_t)i, 32000);
    for (int64_t i = 0; i < ROWS / 2; i++) wanted[i] = 2 * i, targets[i] = tokens[2 * i], weight[i] = 1.0f / ROWS;
    for (int64_t i = 0; i <= ROWS / LENGTH; i++) starts[i] = i * LENGTH;
    const struct batch b = {
        .tokens = tokens, .starts = starts, .wanted = wanted, .n = ROWS, .nseq = ROWS / LENGTH, .nwanted = ROWS / 2};
    omp_set_num_threads(cpu_threads() < threads ? cpu_threads() : threads);
    transformer_train(m, &b, targets, weight, grad); /* memory is touched for the first time */
    omp_set_num_threads(1);
    tasks_watch(schedule);
    now = (struct times){0};
    const double began = processor_seconds();
    transformer_train(m, &b, targets, weight, grad);
    now.all = processor_seconds() - began;
    tasks_watch(NULL);
    transformer_close(m);
    weights_free(&w);
    params_free(&p);
    mem_free(flat);
    mem_free(grad);
    return now;
}

static void row(const char *model, enum dtype precision) {
    struct err err = {{0}};
    struct config c;
    must(kernels_init(&err), &err);
    must(gemm_init(threads, &err), &err);
    must(config_named(&c, model, FAMILY_MDM, 32000, &err), &err);
    const struct times one = measure(&c, 1, precision), two = measure(&c, 2, precision);
    const double more = (double)(c.n_layer - 1), all = one.all + more * (two.all - one.all),
                 tasks = one.tasks + more * (two.tasks - one.tasks), ends = one.ends + more * (two.ends - one.ends);
    printf("%5s on %3d threads: tasks %.1f s in %.2f s, efficiency %.1f %%; with the other %.1f %% of the step shared "
           "evenly %.1f %%\n",
           model, threads, tasks, ends, 100 * tasks / (threads * ends), 100 * (all - tasks) / all,
           100 * all / (threads * ends + all - tasks));
}

int main(int argc, char **argv) {
    static char *usual[] = {"170", "16", "170", "64", "1028", "16", "1028", "64"};
    const int given = argc > 1 && (!strcmp(argv[1], "f32") || !strcmp(argv[1], "bf16"));
    const enum dtype precision = given && argv[1][0] == 'f' ? DTYPE_F32 : DTYPE_BF16;
    char **rest = argc > 1 + given ? argv + 1 + given : usual;
    const int count = argc > 1 + given ? argc - 1 - given : 8;
    for (int i = 0; i + 1 < count; i += 2) {
        threads = atoi(rest[i + 1]);
        if (threads < 1 || threads > MOST_THREADS) must(-1, &(struct err){"threads must be 1 … 1024"});
        if (fork() == 0) { /* oneDNN is started once for a number of threads */
            row(rest[i], precision);
            fflush(stdout);
            _exit(0);
        }
        int status;
        if (wait(&status) < 0 || status != 0) return 2;
    }
    return 0;
}
