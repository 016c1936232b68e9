/* stop_help: a stop asked for in the middle of a test, seen before the test goes on. */
#ifndef STOP_HELP_H
#define STOP_HELP_H
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "base/stop.h"

static inline void ask_to_stop(void) {
    kill(getpid(), SIGTERM);
    while (!stop_asked()) sched_yield();
}
#endif
