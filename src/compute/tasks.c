/* tasks: one parallel loop. */
#include "compute/tasks.h"

#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "compute/gemm.h"

static tasks_watcher *watcher;

/* Of this thread: what other programs do meanwhile is not in it. */
static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_watched(task *run, void *context, int64_t count) {
    struct err err = {{0}};
    double *seconds = mem_alloc(count, sizeof *seconds, "times of tasks", &err);
    if (!seconds) err_bug(__FILE__, __LINE__, err.msg);
    for (int64_t i = 0; i < count; i++) {
        const double began = processor_seconds();
        run(context, i);
        seconds[i] = processor_seconds() - began;
    }
    watcher(count, seconds);
    mem_free(seconds);
}

void tasks_run(task *run, void *context, int64_t count, bool share) {
    if (watcher) {
        run_watched(run, context, count);
        return;
    }
#pragma omp parallel for schedule(dynamic) num_threads(gemm_team()) if (share && count > 1)
    for (int64_t i = 0; i < count; i++) run(context, i);
}

bool tasks_share_well(int64_t count) {
    enum { ENOUGH = 16 };
    const int64_t threads = gemm_threads(), rounds = divide_up(count, threads);
    return count >= ENOUGH && 8 * count >= 7 * rounds * threads;
}

void tasks_watch(tasks_watcher *watch) {
    watcher = watch;
}
