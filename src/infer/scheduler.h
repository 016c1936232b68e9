/* scheduler: runs requests, many in one forward. A request waits in a queue until there is room for it, joins between two
 * steps, and leaves as soon as it is done or cancelled.
 *
 *     scheduler_open(&s, &engine, SCHEDULER_STORES, &err);
 *     scheduler_add(s, &request, &err);             // any number, at any time between steps, also from step callbacks
 *     while ((more = scheduler_step(s, &err)) > 0) {
 *     }
 *
 * Requests are served in the order in which they were added. What one gets depends on itself alone: not on the company,
 * the order, the sizes of the batches, or threads. Not for several threads at once. */
#ifndef MDM_INFER_SCHEDULER_H
#define MDM_INFER_SCHEDULER_H
#include <stdint.h>
#include "infer/sampler.h"

struct engine;
struct err;
struct scheduler;

#define SCHEDULER_STORES ((int64_t)1 << 30) /* bytes: a fair share of a machine that runs such models */
/* The engine is borrowed. The stores of causal requests together take at most store_bytes, but one may always run. */
int scheduler_open(struct scheduler **out, struct engine *e, int64_t store_bytes, struct err *err);
void scheduler_close(struct scheduler *s); /* NULL is fine; what is not done stays as it is */
/* The request is borrowed until it is done. -1 with err when this model cannot run it. */
int scheduler_add(struct scheduler *s, struct request *r, struct err *err);
/* One forward for all that are running. 1: there is more to do; 0: nothing is left; -1 with err: no memory for even one
 * request. */
int scheduler_step(struct scheduler *s, struct err *err);
/* Steps until nothing is left. */
int scheduler_run(struct scheduler *s, struct err *err);
/* -1 with err: the request is lost. */
int scheduler_check(const struct request *r, struct err *err);

#endif
