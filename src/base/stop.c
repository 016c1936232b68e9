/* stop: a thread of its own takes the signals behind stop_asked(). What to save before ending is the job's affair.
 *
 * No handler ever runs on a thread that computes: kernels of oneDNN (f32, before version 3.11.2) use the stack pointer for
 * their own memory, so that the frame of a signal would be written over whatever lies there, weights or malloc's heads. */
#include "base/stop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "base/progress.h"

enum { TOLD_TWICE = 5 /* seconds */ };

static atomic_int asked;
static atomic_bool installed;
static pid_t guarded; /* the process that has the thread: a fork() has none */

static void all(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

static bool ignored(int sig) {
    struct sigaction sa;
    return sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN;
}

/* The process ends as if nobody had taken the signal. */
static void end_by(int sig) {
    sigset_t set;
    all(&set);
    signal(sig, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(sig);
}

static void *take_signals(void *unused) {
    sigset_t set;
    siginfo_t info;
    bool urged = false;
    double told = -TOLD_TWICE; /* when SIGTERM was taken last */
    all(&set);
    for (;;) {
        const int sig = sigwaitinfo(&set, &info);
        if (sig < 0 && errno == EINTR) continue; /* stopped by SIGSTOP and gone on */
        if (sig < 0) return unused;
        /* Neither what stop_tell() sends is anybody's impatience, nor what is told twice at once: a terminal that is gone by
         * the system and the shell, the end of a job's time by Slurm and its srun. */
        const double now = clock_seconds();
        const bool twice = sig == SIGTERM && now - told < TOLD_TWICE;
        const bool urges = info.si_code != SI_QUEUE && sig != SIGHUP && !twice;
        if (ignored(sig) && (!installed || sig == SIGHUP)) continue; /* as nohup wants it */
        if (!installed || (urged && urges)) end_by(sig);
        if (!asked) asked = sig;
        if (sig == SIGTERM && !twice) told = now;
        urged = urged || urges;
    }
}

void stop_guard(void) {
    enum { STACK = 1 << 16 };
    sigset_t set;
    pthread_attr_t small;
    pthread_t thread;
    if (guarded == getpid()) return;
    all(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* threads inherit it */
    const bool sized = pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, STACK) == 0 &&
                       pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED) == 0;
    if (sized && pthread_create(&thread, &small, take_signals, NULL) == 0)
        guarded = getpid();
    else
        pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* without a thread signals end the program, as they do by default */
    if (sized) pthread_attr_destroy(&small);
}

void stop_install(void) {
    stop_guard();
    installed = true;
}

/* On the thread that writes, within write(): not one that computes. */
static void unread(int sig) {
    if (!asked) asked = sig;
}

void stop_when_unread(void) {
    if (!ignored(SIGPIPE)) signal(SIGPIPE, unread);
}

void stop_child(void) {
    sigset_t set;
    all(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void stop_tell(pid_t child) {
    sigqueue(child, SIGTERM, (union sigval){0});
}

bool stop_takes(int sig) {
    sigset_t set;
    all(&set);
    return sigismember(&set, sig) == 1;
}

bool stop_asked(void) {
    return asked != 0;
}
int stop_signal(void) {
    return asked;
}
