/* behind: communication behind a computation. One thread does the jobs that it is given, one after another; all ranks give
 * the same jobs in the same order, and call nothing else of comm/ until behind_settle() has returned.
 *
 *     ticket = behind_post(b, job, context, what, where);
 *     …
 *     behind_wait(b, ticket);                      // this job, and all before it, are done
 *
 * MPI alone would not do: Open MPI moves messages only while somebody is inside one of its calls, also those of its
 * nonblocking collectives. The thread is somebody. It asks, and sleeps between (comm_mpi.c), so that it takes little from
 * the threads that compute. With one rank, or where no thread can be had, jobs are done as they are posted. */
#ifndef MDM_COMM_BEHIND_H
#define MDM_COMM_BEHIND_H
#include <stdint.h>

struct err;
struct behind;

typedef void behind_job(void *context, int what, void *where);

struct behind *behind_open(struct err *err);
void behind_close(struct behind *b); /* NULL is fine; no job may be left */
/* At most BEHIND_JOBS at a time: more wait for room. */
enum { BEHIND_JOBS = 16 };
int64_t behind_post(struct behind *b, behind_job *job, void *context, int what, void *where);
void behind_wait(struct behind *b, int64_t ticket);
void behind_settle(struct behind *b); /* all jobs */
/* Seconds that jobs took, and those of them that somebody waited for. */
void behind_seconds(const struct behind *b, double *busy, double *waited);

#endif
