/* watch: sees when a rank has stopped or its host fell silent, which nothing else would tell: the others would wait in an
 * exchange for ever. Each rank has a thread that sends a sign of life to rank 0 every half second over a TCP connection of
 * its own, and gets one back; so a long computation is no silence. Whoever hears nothing for `patience` seconds says
 * which rank on which host that is and ends its process; rank 0 tells the others first, so that as a rule the line is
 * one; others speak when rank 0 itself is silent, each for itself where no launcher ends them.
 *
 * A launcher that ends all when one ends (mpirun does, srun -K) is not needed, but is faster where a rank dies. A rank
 * whose threads all live, but which waits for a disk for ever, is not silent. */
#ifndef MDM_COMM_WATCH_H
#define MDM_COMM_WATCH_H

struct err;

/* By all ranks. What cannot be watched (no connection to rank 0, no thread) is a line on standard error, no failure. The
 * environment's MDM_PATIENCE, in seconds, takes the place of `patience`; 0: nobody watches, as a debugger wants it; what is
 * no number, or less than two seconds, fails. */
int watch_start(double patience, struct err *err);
/* By all ranks, after the last exchange. */
void watch_end(void);

#endif
