/* Checks and times every row kernel of every instruction set this machine has, on one thread.
 *
 *     build/bench/kernels [NAME]      only kernels whose name contains NAME
 *
 * A line per kernel: elements, then for each set nanoseconds a call and GB/s (bytes the kernel reads and writes, each
 * array counted once a call; arrays stay in cache). The first line is memcpy, as a measure of the machine. Exit status
 * 1 when a result is not what ref_* says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "compute/ref.h"
#include "compute/kernels.h"

enum { ARRAYS = 7, LONGEST = 1 << 20 };

/* The arrays of one kernel: p in its own type, d the same in double. */
struct work {
    int64_t n;
    enum dtype t; /* of what the kernel calls `void *` */
    void *p[ARRAYS];
    double *d[ARRAYS];
    float f[2], *cos, *sin;
};

static const struct adamw step = {.lr = 1e-4f,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.95f,
                                  .eps = 1e-8f,
                                  .weight_decay = 0.1f,
                                  .grad_scale = 0.9f,
                                  .correction1 = 0.5f,
                                  .correction2 = 0.3f};

/* Each kernel twice: as it is, and by ref_*. Array 3 holds positive numbers. */
#define KERNEL(name, kernel, reference)                                                                                \
    static void run_##name(const struct kernels *k, struct work *w) {                                                  \
        (void)k;                                                                                                       \
        kernel;                                                                                                        \
    }                                                                                                                  \
    static void ref_##name##_of(struct work *w) {                                                                      \
        reference;                                                                                                     \
    }

KERNEL(memcpy, memcpy(w->p[0], w->p[1], (size_t)w->n * 4), memcpy(w->d[0], w->d[1], (size_t)w->n * 8))
KERNEL(narrow, k->convert(w->p[0], w->t, w->p[1], DTYPE_F32, w->n), memcpy(w->d[0], w->d[1], (size_t)w->n * 8))
KERNEL(widen, k->convert(w->p[1], DTYPE_F32, w->p[0], w->t, w->n), memcpy(w->d[1], w->d[0], (size_t)w->n * 8))
KERNEL(add, k->add(w->p[0], w->p[1], w->n), ref_add(w->d[0], w->d[1], w->n))
KERNEL(scale, k->scale(w->p[0], DTYPE_F32, -1, w->n), ref_scale(w->d[0], -1, w->n))
KERNEL(add_scaled, k->add_scaled(w->p[0], -1, w->p[1], DTYPE_F32, w->n), ref_add_scaled(w->d[0], -1, w->d[1], w->n))
KERNEL(sum_squares, w->f[0] = (float)k->sum_squares(w->p[0], w->n), w->f[1] = (float)ref_sum_squares(w->d[0], w->n))
KERNEL(dot, w->f[0] = k->dot(w->p[0], w->t, w->p[3], DTYPE_F32, w->n), w->f[1] = (float)ref_dot(w->d[0], w->d[3], w->n))
KERNEL(rmsnorm, k->rmsnorm(w->p[0], w->t, NULL, w->p[1], w->p[2], w->n, 1e-5f),
       ref_rmsnorm(w->d[0], NULL, w->d[1], w->d[2], w->n, 1e-5f))
KERNEL(rmsnorm_backward, k->rmsnorm_backward(w->p[0], w->p[1], w->p[2], w->p[3], w->p[4], 1.1f, w->n),
       ref_rmsnorm_backward(w->d[0], w->d[1], w->d[2], w->d[3], w->d[4], 1.1f, w->n))
KERNEL(swiglu, k->swiglu(w->p[0], w->p[1], w->p[2], w->t, w->n), ref_swiglu(w->d[0], w->d[1], w->d[2], w->n))
KERNEL(
    swiglu_backward,
    {
        memcpy(w->p[1], w->p[5], (size_t)w->n * dtype_size(w->t)); /* again and again in place it would drift */
        memcpy(w->p[2], w->p[6], (size_t)w->n * dtype_size(w->t)); /* into subnormal numbers */
        k->swiglu_backward(w->p[1], w->p[2], w->p[0], w->p[4], w->t, w->n);
    },
    {
        memcpy(w->d[1], w->d[5], (size_t)w->n * 8);
        memcpy(w->d[2], w->d[6], (size_t)w->n * 8);
        ref_swiglu_backward(w->d[1], w->d[2], w->d[0], w->d[4], w->n);
    })
KERNEL(rotate, k->rotate(w->p[0], w->t, w->p[1], w->t, w->cos, w->sin, w->n, 0.125f),
       ref_rotate(w->d[0], w->d[1], w->cos, w->sin, w->n, 0.125f))
KERNEL(rotate_back, k->rotate_back(w->p[0], w->t, w->p[1], w->cos, w->sin, w->n, 0.125f),
       ref_rotate_back(w->d[0], w->d[1], w->cos, w->sin, w->n, 0.125f))
KERNEL(
    softmax,
    {
        if (w->t == DTYPE_BF16) memcpy(w->p[1], w->p[5], (size_t)w->n * 4); /* the last call has used it up */
        k->softmax(w->p[0], w->t, &w->f[0], w->p[1], w->n, w->n);
    },
    {
        double lse;
        if (w->t == DTYPE_BF16) memcpy(w->d[1], w->d[5], (size_t)w->n * 8);
        ref_softmax(w->d[0], &lse, w->d[1], w->n, w->n);
        w->f[1] = (float)lse;
        ref_widen(w->d[1], w->p[1], DTYPE_F32, w->n);
    })
KERNEL(softmax_backward,
       k->softmax_backward(w->p[0], w->p[2], w->t, w->p[1], w->p[4], logf((float)w->n), 0.1f, w->n, w->n),
       ref_softmax_backward(w->d[0], w->d[2], w->d[1], w->d[4], log((double)w->n), 0.1, w->n, w->n))
KERNEL(sum_exp, k->sum_exp(w->p[0], w->t, &w->f[0], w->p[1], w->n, 0), {
    double shift;
    ref_sum_exp(w->d[0], &shift, w->d[1], w->n, 0);
    w->f[1] = (float)shift;
})
KERNEL(argmax, w->f[0] = (float)k->argmax(w->p[1], w->n), w->f[1] = (float)ref_argmax(w->d[1], w->n))
KERNEL(guide, k->guide(w->p[0], w->p[1], 0.0f, w->n), ref_guide(w->d[0], w->d[1], 0.0, w->n))
KERNEL(adamw, k->adamw(w->p[0], w->p[1], w->p[3], w->p[2], w->n, &step),
       ref_adamw(w->d[0], w->d[1], w->d[3], w->d[2], w->n, &step))

/* `own`: arrays (a bit each) of type t, the others are f32; `moved`: passes over arrays of f32 and of t, read or
 * written. */
static const struct bench {
    const char *name;
    void (*run)(const struct kernels *k, struct work *w);
    void (*ref)(struct work *w);
    int64_t n;
    enum dtype t;
    int own, moved, moved_own;
} benches[] = {
    {"memcpy", run_memcpy, ref_memcpy_of, 4096, DTYPE_F32, 0, 2, 0},
    {"memcpy, 8 MB", run_memcpy, ref_memcpy_of, LONGEST, DTYPE_F32, 0, 2, 0},
    {"convert to bf16", run_narrow, ref_narrow_of, 4096, DTYPE_BF16, 1, 1, 1},
    {"convert to f32", run_widen, ref_widen_of, 4096, DTYPE_BF16, 1, 1, 1},
    {"add", run_add, ref_add_of, 4096, DTYPE_F32, 0, 3, 0},
    {"scale", run_scale, ref_scale_of, 4096, DTYPE_F32, 0, 2, 0},
    {"add_scaled", run_add_scaled, ref_add_scaled_of, 4096, DTYPE_F32, 0, 3, 0},
    {"sum_squares", run_sum_squares, ref_sum_squares_of, 4096, DTYPE_F32, 0, 1, 0},
    {"dot", run_dot, ref_dot_of, 4096, DTYPE_F32, 0, 2, 0},
    {"dot of 64", run_dot, ref_dot_of, 64, DTYPE_F32, 0, 2, 0},
    {"dot bf16", run_dot, ref_dot_of, 4096, DTYPE_BF16, 1, 1, 1},
    {"rmsnorm", run_rmsnorm, ref_rmsnorm_of, 768, DTYPE_F32, 0, 3, 0},
    {"rmsnorm bf16", run_rmsnorm, ref_rmsnorm_of, 768, DTYPE_BF16, 1, 2, 1},
    {"rmsnorm_backward", run_rmsnorm_backward, ref_rmsnorm_backward_of, 768, DTYPE_F32, 0, 7, 0},
    {"swiglu", run_swiglu, ref_swiglu_of, 3072, DTYPE_F32, 0, 3, 0},
    {"swiglu bf16", run_swiglu, ref_swiglu_of, 3072, DTYPE_BF16, 7, 0, 3},
    {"swiglu_backward", run_swiglu_backward, ref_swiglu_backward_of, 3072, DTYPE_F32, 0, 10, 0},
    {"swiglu_backward bf16", run_swiglu_backward, ref_swiglu_backward_of, 3072, DTYPE_BF16, 127, 0, 10},
    {"rotate", run_rotate, ref_rotate_of, 64, DTYPE_F32, 0, 3, 0},
    {"rotate bf16", run_rotate, ref_rotate_of, 64, DTYPE_BF16, 3, 1, 2},
    {"rotate_back", run_rotate_back, ref_rotate_back_of, 64, DTYPE_F32, 0, 3, 0},
    {"softmax", run_softmax, ref_softmax_of, 2048, DTYPE_F32, 0, 2, 0},
    {"softmax bf16", run_softmax, ref_softmax_of, 2048, DTYPE_BF16, 1, 3, 1},
    {"softmax_backward", run_softmax_backward, ref_softmax_backward_of, 2048, DTYPE_F32, 0, 4, 0},
    {"softmax_backward bf16", run_softmax_backward, ref_softmax_backward_of, 2048, DTYPE_BF16, 5, 2, 2},
    {"sum_exp", run_sum_exp, ref_sum_exp_of, 384, DTYPE_F32, 0, 2, 0},
    {"sum_exp bf16", run_sum_exp, ref_sum_exp_of, 384, DTYPE_BF16, 1, 1, 1},
    {"argmax", run_argmax, ref_argmax_of, 32000, DTYPE_F32, 0, 1, 0},
    {"guide", run_guide, ref_guide_of, 32000, DTYPE_F32, 0, 3, 0},
    {"adamw", run_adamw, ref_adamw_of, 4096, DTYPE_F32, 0, 7, 0},
    {"adamw, 16 MB", run_adamw, ref_adamw_of, LONGEST, DTYPE_F32, 0, 7, 0},
};

static enum dtype type_of(const struct bench *b, int array) {
    return b->own >> array & 1 ? b->t : DTYPE_F32;
}

static void fill(const struct bench *b, struct work *w) {
    w->n = b->n;
    w->t = b->t;
    w->f[0] = w->f[1] = 0;
    for (int a = 0; a < ARRAYS; a++) {
        for (int64_t i = 0; i < b->n; i++) {
            const double u = rng_uniform(1, RNG_TEST, (uint64_t)a, (uint64_t)i);
            w->d[a][i] = a == 3 ? u : 4 * u - 2;
        }
        ref_narrow(w->p[a], type_of(b, a), w->d[a], b->n);
        ref_widen(w->d[a], w->p[a], type_of(b, a), b->n);
    }
}

/* How far the arrays and the number are from what they should be, as a share of what is allowed. */
static double error(const struct bench *b, const struct work *w) {
    double worst = fabs(w->f[0] - w->f[1]) / (1e-5 * (1 + fabs(w->f[1])));
    for (int a = 0; a < ARRAYS; a++)
        for (int64_t i = 0; i < b->n; i++) {
            double got;
            ref_widen(&got, (char *)w->p[a] + i * (int64_t)dtype_size(type_of(b, a)), type_of(b, a), 1);
            const double unit = type_of(b, a) == DTYPE_F32 ? 1e-6 : 1.0 / 250, want = w->d[a][i];
            const double e = fabs(got - want) / (unit * fabs(want) + 2e-6);
            if (!(e <= worst)) worst = e;
        }
    return worst;
}

/* Seconds a call: the best of several runs of 1 ms or more. */
static double seconds(const struct bench *b, const struct kernels *k, struct work *w) {
    double best = INFINITY;
    int64_t calls = 1;
    fill(b, w);
    for (int round = 0; round < 30;) {
        const double start = clock_seconds();
        for (int64_t i = 0; i < calls; i++) b->run(k, w);
        const double spent = clock_seconds() - start;
        if (spent < 1e-3) {
            calls *= 2;
            continue;
        }
        if (spent / (double)calls < best) best = spent / (double)calls;
        round++;
    }
    return best;
}

static int run(const struct bench *b, struct work *w) {
    const double bytes = (double)b->n * (4 * b->moved + (double)dtype_size(b->t) * b->moved_own);
    int wrong = 0;
    printf("%-25s %8lld", b->name, (long long)b->n);
    for (int isa = 0; isa < CPU_ISAS; isa++) {
        const struct kernels *k = kernels_for(isa);
        if (!k) continue;
        fill(b, w);
        b->run(k, w);
        b->ref(w);
        const double e = error(b, w), s = seconds(b, k, w);
        if (!(e <= 1)) wrong = 1;
        printf(" | %10.1f ns %6.1f GB/s%s", s * 1e9, bytes / s * 1e-9, e <= 1 ? "" : " WRONG");
        fflush(stdout);
    }
    printf("\n");
    return wrong;
}

int main(int argc, char **argv) {
    struct err err = {{0}};
    struct work w = {0};
    int wrong = 0;
    for (int a = 0; a < ARRAYS; a++) {
        w.p[a] = mem_alloc(LONGEST, 4, "bench", &err);
        w.d[a] = mem_alloc(LONGEST, 8, "bench", &err);
        if (!w.p[a] || !w.d[a]) {
            fprintf(stderr, "kernels: %s\n", err.msg);
            return 2;
        }
    }
    static float cos_row[64], sin_row[64];
    for (int i = 0; i < 64; i++) cos_row[i] = cosf((float)i), sin_row[i] = sinf((float)i);
    w.cos = cos_row, w.sin = sin_row;
    printf("%s\n%-25s %8s", cpu_model(), "kernel", "elements");
    for (int isa = 0; isa < CPU_ISAS; isa++)
        if (kernels_for(isa)) printf(" | %-24s", kernels_for(isa)->name);
    printf("\n");
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
        if (argc < 2 || strstr(benches[i].name, argv[1])) wrong |= run(&benches[i], &w);
    return wrong;
}
