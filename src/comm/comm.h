/* comm: the processes ("ranks") of a run. One function moves bytes between them; the others are made of it. comm_self.c is a
 * single process; comm_mpi.c, which takes its place in a program built with MPI=1, is all that knows of MPI.
 *
 *     comm_start(&err);                            // joins the other ranks, when a launcher started this process
 *     …
 *     if (comm_settle(open_it(&err), &err) < 0)    // failed on one, failed on all, and all know why
 *         …
 *     comm_end();
 *
 * Every call waits for every rank, so a rank that cannot go on must not just return: before they exchange anything the
 * ranks agree on one small word, and all go on, or none does. One thread at a time may call. */
#ifndef MDM_COMM_COMM_H
#define MDM_COMM_COMM_H
#include <stdint.h>

struct err;

/* What this process may use of the machine (base/machine.h) is divided among the ranks of its host. -1: this program cannot
 * do what the launcher wants. Without a launcher there is one rank, and nothing is started. */
int comm_start(struct err *err);
void comm_end(void); /* after the last call of all ranks */
/* What launchers put into the environment of a rank: names, NULL behind the last. */
extern const char *const comm_signs[];
/* This process's environment without these, for a child that becomes no rank, but a program by itself: made before fork(), since
 * behind it a program with threads may hardly do anything. mem_free() frees it; the strings are borrowed. NULL with err. */
char **comm_alone(struct err *err);
int comm_rank(void);
int comm_size(void);
int comm_local_size(void); /* ranks on this host */

struct comm_piece {
    void *data;
    int64_t bytes;
};
/* to[r] goes to rank r, from[r] comes from rank r; [comm_size()] each. What two ranks expect of each other agrees in size. */
void comm_exchange(const struct comm_piece *to, const struct comm_piece *from);

/* v is made up of a part of each rank, that of rank r at bytes [first[r], first[r + 1]): afterwards all have all of it. */
void comm_gather(void *v, const int64_t *first);
void comm_tell(void *v, int64_t bytes);  /* those of rank 0, to all */
void comm_sum_f64(double *v, int64_t n); /* in place, over all ranks, in rank order */
int comm_agree(int word);                /* the largest word of all ranks */

enum comm_word { COMM_GO, COMM_STOP, COMM_FAIL };
/* How the ranks go on, from where this one stands (status < 0: it failed and err says why; base/stop): the worst of them. */
enum comm_word comm_word(int status, struct err *err);
/* -1 on every rank when status is negative on one; err is then the message of the first that failed, with its place. */
int comm_settle(int status, struct err *err);
/* Puts this rank and its host before the message of an error; alone, nothing. Returns -1. */
int comm_place(struct err *err);

/* The bytes of every rank on rank 0, those of rank r at [at[r], at[r + 1]) of `all`, which is emptied on the others. -1 on
 * every rank when rank 0 has no room. */
struct bytes;
int comm_collect(struct bytes *all, int64_t *at, const struct bytes *mine, struct err *err);

enum { COMM_RANKS = 1024 }; /* most ranks */

#endif
