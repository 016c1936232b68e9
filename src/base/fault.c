/* fault: counts the calls that may fail and says which one is to fail now. It fails nothing itself: the callers
 * (mem.c, file.c, jsonl.c) ask before the real call. */
#include "base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static const struct {
    const char *name;
    int error;
} kinds[FAULT_KINDS] = {
    [FAULT_ALLOC] = {"alloc", ENOMEM}, [FAULT_READ] = {"read", EIO},     [FAULT_WRITE] = {"write", ENOSPC},
    [FAULT_FSYNC] = {"fsync", EIO},    [FAULT_RENAME] = {"rename", EIO},
};

static struct {
    atomic_long count, at;
    atomic_bool onwards;
} state[FAULT_KINDS];

/* Bit k: kind k is armed. NOT_READ: the environment has not been looked at. */
enum { NOT_READ = 1 << FAULT_KINDS };
static atomic_int armed = NOT_READ;
static pthread_once_t environment_once = PTHREAD_ONCE_INIT;

static void arm(enum fault_kind kind, long n, bool onwards) {
    atomic_store(&state[kind].count, 0);
    atomic_store(&state[kind].at, n);
    atomic_store(&state[kind].onwards, onwards);
    if (n > 0)
        atomic_fetch_or(&armed, 1 << kind);
    else
        atomic_fetch_and(&armed, ~(1 << kind));
}

/* "write:3,alloc:7+". A value that cannot be read stops the program: a test that injects nothing must not pass. */
static void read_environment(void) {
    const char *s = getenv("MDM_FAULT");
    while (s && *s) {
        int k = 0;
        size_t len = strcspn(s, ":");
        while (k < FAULT_KINDS && (strlen(kinds[k].name) != len || strncmp(s, kinds[k].name, len) != 0)) k++;
        char *end = NULL;
        long n = k < FAULT_KINDS && s[len] ? strtol(s + len + 1, &end, 10) : 0;
        bool onwards = n > 0 && *end == '+';
        if (onwards) end++;
        if (n <= 0 || (*end && *end != ','))
            err_bug(__FILE__, __LINE__,
                    "MDM_FAULT must be KIND:N or KIND:N+, KIND one of alloc read write fsync rename");
        arm((enum fault_kind)k, n, onwards);
        s = *end ? end + 1 : end;
    }
    atomic_fetch_and(&armed, ~NOT_READ);
}

bool fault_now(enum fault_kind kind) {
    int a = atomic_load_explicit(&armed, memory_order_relaxed);
    if (a == 0) return false;
    if (a & NOT_READ) {
        pthread_once(&environment_once, read_environment);
        a = atomic_load(&armed);
    }
    if (!(a & 1 << kind)) return false;
    long call = atomic_fetch_add(&state[kind].count, 1) + 1, at = atomic_load(&state[kind].at);
    if (call != at && !(call > at && atomic_load(&state[kind].onwards))) return false;
    errno = kinds[kind].error;
    return true;
}

void fault_set(enum fault_kind kind, long n, bool onwards) {
    BUG_ON(kind < 0 || kind >= FAULT_KINDS || n < 0);
    pthread_once(&environment_once, read_environment);
    arm(kind, n, onwards);
}

long fault_count(enum fault_kind kind) {
    return atomic_load(&state[kind].count);
}
