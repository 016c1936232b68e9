/* comm: the processes of a run. comm_self.c is one process; comm_mpi.c (built with MPI=1) is the only file that
 * includes mpi.h. Errors here end every process: a run cannot go on without one of its ranks. Counts are checked to fit
 * MPI's int in chunks. */
#ifndef MDM_COMM_COMM_H
#define MDM_COMM_COMM_H
#include <stddef.h>
#include <stdint.h>

void comm_init(int *argc, char ***argv);
void comm_finish(void);
int comm_rank(void);
int comm_size(void);
void comm_barrier(void);
void comm_sum_f32(float *v, int64_t n); /* in place, over all ranks, in rank order */
void comm_sum_f64(double *v, int64_t n);
void comm_broadcast(void *v, int64_t bytes, int root);
_Noreturn void comm_abort(int status);

#endif
