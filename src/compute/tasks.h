/* tasks: independent pieces of work, handed to threads as these come free.
 *
 *     tasks_run(one, &product, tiles, work > PARALLEL_WORK);     // one(&product, 0), one(&product, 1), …
 *
 * A task writes its own part of the result, so who runs it when changes no bit. How the work is cut into tasks may follow
 * the number of threads only where a cut changes no sum. */
#ifndef MDM_COMPUTE_TASKS_H
#define MDM_COMPUTE_TASKS_H
#include <stdbool.h>
#include <stdint.h>

typedef void task(void *context, int64_t i);
/* share: false when the work is too small for more than one thread. */
void tasks_run(task *run, void *context, int64_t count, bool share);
/* Would `count` equal tasks keep this program's threads busy: several for each, or few idle in the last round? */
bool tasks_share_well(int64_t count);

/* For benches (bench/schedule.c): from now on all tasks run in one thread, and after each tasks_run() `watch` is told how
 * long every task took. NULL: no more. */
typedef void tasks_watcher(int64_t count, const double *seconds);
void tasks_watch(tasks_watcher *watch);

#endif
