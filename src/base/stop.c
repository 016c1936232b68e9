/* stop: the signal handlers behind stop_asked(). What to save before ending is the job's affair. */
#include "base/stop.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t asked;

static void note(int sig) {
    asked = sig;
}

/* SA_RESETHAND: the second signal meets the default action and ends the program at once. SA_RESTART: a read or write
 * under way goes on. */
void stop_install(void) {
    struct sigaction sa = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

bool stop_asked(void) {
    return asked != 0;
}
int stop_signal(void) {
    return asked;
}
