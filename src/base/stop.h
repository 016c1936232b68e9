/* stop: Ctrl-C, SIGTERM and a terminal that is gone (SIGHUP, unless it is ignored) ask the running job to save and end; a second
 * of the first two ends at once, but SIGTERM within five seconds of SIGTERM is the same one.
 *
 *     stop_guard();      // at the start, before there are threads
 *     stop_install();
 *     while (!stop_asked()) step();
 */
#ifndef MDM_BASE_STOP_H
#define MDM_BASE_STOP_H
#include <stdbool.h>
#include <sys/types.h>

/* From here on a thread of its own takes these signals: no other one is interrupted by them, nor those that it makes. The
 * program ends by them, as by default, until stop_install(), which calls it where that was not done. */
void stop_guard(void);
void stop_install(void);
/* From here on output that nobody reads any more (SIGPIPE, unless it is ignored) asks too: for jobs that print only what they
 * are at, and have something to save. */
void stop_when_unread(void);
void stop_child(void); /* between fork() and exec() of another program, which is to be ended by them as ever */
/* Asks a child that is this program to save and end. Whatever signalled the whole group, a terminal's Ctrl-C or who ends a
 * service, may have asked it already, or does so next: this never counts as the second one. */
void stop_tell(pid_t child);
bool stop_takes(int sig); /* one of those that ask */
bool stop_asked(void);
int stop_signal(void); /* which signal, or 0: the exit status is then 128 + it */

#endif
