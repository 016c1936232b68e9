/* comm_mpi: ranks started by mpirun or by Slurm's srun, over MPI. A process that neither started is alone, and MPI, which
 * takes a good part of a second to start, stays out of it. */
#include <mpi.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/machine.h"
#include "comm/comm.h"
#include "comm/watch.h"

#ifndef COMM_CHUNK
#define COMM_CHUNK (1 << 26) /* bytes of a message: MPI counts in ints */
#endif
enum {
    PATIENCE = 15, /* seconds without a sign of life of a rank (watch.h) */
    ASKED = 1000,  /* times that a message under way is asked for without pause, */
    NAP = 50000,   /* and then with pauses of this many nanoseconds */
};

static int rank, ranks = 1, locals = 1;

/* The cores that this rank may use, each counted for as much as falls to it: a launcher may bind every rank to cores of its
 * own, or none. */
static double cores_of(MPI_Comm host) {
    cpu_set_t mine, sets[COMM_RANKS];
    double cores = 0;
    if (sched_getaffinity(0, sizeof mine, &mine) < 0) return 1;
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, sets, sizeof mine, MPI_BYTE, host);
    for (int c = 0; c < CPU_SETSIZE; c++) {
        int sharers = 0;
        for (int r = 0; r < locals; r++) sharers += CPU_ISSET(c, &sets[r]) != 0;
        if (CPU_ISSET(c, &mine)) cores += 1.0 / sharers;
    }
    return cores + 1e-6; /* three thirds are one */
}

int comm_start(struct err *err) {
    bool launched = false;
    int threads;
    for (int i = 0; comm_signs[i]; i++) launched = launched || getenv(comm_signs[i]);
    if (!launched) return 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &threads) != MPI_SUCCESS)
        return err_set(err, "MPI does not start");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (threads < MPI_THREAD_SERIALIZED) return err_set(err, "this MPI cannot be called from more than one thread");
    if (ranks > COMM_RANKS) return err_set(err, "%d processes: at most %d can work on one run", ranks, COMM_RANKS);
    MPI_Comm host;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host);
    MPI_Comm_size(host, &locals);
    machine_divide(locals, cores_of(host));
    MPI_Comm_free(&host);
    return watch_start(PATIENCE, err);
}

void comm_end(void) {
    int started;
    MPI_Initialized(&started);
    if (started) watch_end();
    if (started) MPI_Finalize();
}

int comm_rank(void) {
    return rank;
}

int comm_size(void) {
    return ranks;
}

int comm_local_size(void) {
    return locals;
}

static int chunk_of(int64_t bytes, int64_t at) {
    return at >= bytes ? 0 : bytes - at < COMM_CHUNK ? (int)(bytes - at) : COMM_CHUNK;
}

/* MPI itself waits by asking without end, which takes the core from ranks and threads that have work, where there are more
 * of them than cores. */
static void wait_for(MPI_Request *requests, int n) {
    const struct timespec nap = {.tv_nsec = NAP};
    int done = 0;
    for (int asked = 0; !done; asked++) {
        MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE);
        if (asked > ASKED) nanosleep(&nap, NULL);
    }
}

void comm_exchange(const struct comm_piece *to, const struct comm_piece *from) {
    MPI_Request requests[2 * COMM_RANKS];
    int64_t most = 0;
    BUG_ON(to[rank].bytes != from[rank].bytes);
    if (to[rank].bytes > 0 && to[rank].data != from[rank].data)
        memcpy(from[rank].data, to[rank].data, (size_t)to[rank].bytes);
    for (int r = 0; r < ranks; r++) {
        most = r != rank && to[r].bytes > most ? to[r].bytes : most;
        most = r != rank && from[r].bytes > most ? from[r].bytes : most;
    }
    for (int64_t at = 0; at < most; at += COMM_CHUNK) {
        int n = 0;
        for (int d = 1; d < ranks;
             d++) { /* each rank begins with its neighbour: no rank is everybody's partner at once */
            const int next = (rank + d) % ranks, before = (rank + ranks - d) % ranks;
            const int takes = chunk_of(from[before].bytes, at), gives = chunk_of(to[next].bytes, at);
            const char *out = gives ? (const char *)to[next].data + at : NULL; /* an empty piece may be nowhere */
            char *in = takes ? (char *)from[before].data + at : NULL;
            if (takes) MPI_Irecv(in, takes, MPI_BYTE, before, 0, MPI_COMM_WORLD, &requests[n++]);
            if (gives) MPI_Isend(out, gives, MPI_BYTE, next, 0, MPI_COMM_WORLD, &requests[n++]);
        }
        wait_for(requests, n);
    }
}
