/* comm: the processes of a run. comm_self.c, the one implementation so far, is a single process.
 *
 * A sum waits for every rank, so a rank that cannot go on must not just return: before each sum the ranks agree on one
 * small word, and all go on, or none does. */
#ifndef MDM_COMM_COMM_H
#define MDM_COMM_COMM_H
#include <stdint.h>

int comm_rank(void);
int comm_size(void);
void comm_sum_f32(float *v, int64_t n); /* in place, over all ranks, in rank order */
void comm_sum_f64(double *v, int64_t n);
int comm_agree(int word); /* the largest word of all ranks */

#endif
