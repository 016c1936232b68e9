/* stop: Ctrl-C and SIGTERM ask the running job to save and end; a second one ends at once.
 *
 *     stop_install();
 *     while (!stop_asked()) step();
 */
#ifndef MDM_BASE_STOP_H
#define MDM_BASE_STOP_H
#include <stdbool.h>

void stop_install(void);
bool stop_asked(void);
int stop_signal(void); /* which signal, or 0: the exit status is then 128 + it */

#endif
