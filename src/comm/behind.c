/* behind: see behind.h. */
#include "comm/behind.h"

#include <omp.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/mem.h"
#include "base/progress.h"
#include "comm/comm.h"

struct behind {
    pthread_t thread;
    bool threaded, ends;
    pthread_mutex_t lock;
    pthread_cond_t posted, finished;
    struct {
        behind_job *job;
        void *context, *where;
        int what;
    } job[BEHIND_JOBS];
    int64_t given, done;
    double busy, waited;
};

static void *work(void *context) {
    struct behind *b = context;
    omp_set_num_threads(1); /* of this thread alone: the cores are busy */
    pthread_mutex_lock(&b->lock);
    for (;;) {
        while (b->done == b->given && !b->ends) pthread_cond_wait(&b->posted, &b->lock);
        if (b->done == b->given) break;
        const int64_t i = b->done % BEHIND_JOBS;
        pthread_mutex_unlock(&b->lock);
        const double began = clock_seconds();
        b->job[i].job(b->job[i].context, b->job[i].what, b->job[i].where);
        const double took = clock_seconds() - began;
        pthread_mutex_lock(&b->lock);
        b->busy += took;
        b->done++;
        pthread_cond_broadcast(&b->finished);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

struct behind *behind_open(struct err *err) {
    struct behind *b = mem_alloc(1, sizeof *b, "communication", err);
    if (!b) return NULL;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->posted, NULL);
    pthread_cond_init(&b->finished, NULL);
    b->threaded = comm_size() > 1 && pthread_create(&b->thread, NULL, work, b) == 0;
    return b;
}

void behind_close(struct behind *b) {
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    b->ends = true;
    pthread_cond_signal(&b->posted);
    pthread_mutex_unlock(&b->lock);
    if (b->threaded) pthread_join(b->thread, NULL);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->posted);
    pthread_cond_destroy(&b->finished);
    mem_free(b);
}

/* Until at least this many jobs are done. */
static void wait_for(struct behind *b, int64_t many) {
    const double began = clock_seconds();
    pthread_mutex_lock(&b->lock);
    const bool waits = b->done < many;
    while (b->done < many) pthread_cond_wait(&b->finished, &b->lock);
    if (waits) b->waited += clock_seconds() - began;
    pthread_mutex_unlock(&b->lock);
}

int64_t behind_post(struct behind *b, behind_job *job, void *context, int what, void *where) {
    if (!b->threaded) {
        const double began = clock_seconds();
        job(context, what, where);
        b->busy += clock_seconds() - began;
        b->waited = b->busy;
        return ++b->done;
    }
    wait_for(b, b->given - BEHIND_JOBS + 1);
    pthread_mutex_lock(&b->lock);
    const int64_t i = b->given % BEHIND_JOBS;
    b->job[i].job = job;
    b->job[i].context = context;
    b->job[i].what = what;
    b->job[i].where = where;
    const int64_t ticket = ++b->given;
    pthread_cond_signal(&b->posted);
    pthread_mutex_unlock(&b->lock);
    return ticket;
}

void behind_wait(struct behind *b, int64_t ticket) {
    if (b->threaded) wait_for(b, ticket);
}

void behind_settle(struct behind *b) {
    behind_wait(b, b->given);
}

void behind_seconds(const struct behind *b, double *busy, double *waited) {
    *busy = b->busy;
    *waited = b->waited;
}
