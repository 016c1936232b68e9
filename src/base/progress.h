/* progress: tells the person what a long job does: a bar on a terminal, a plain line now and then in a log (stderr).
 *
 *     struct progress p;
 *     progress_start(&p, "prepare", "MB", total, 1e-6);    // total 0: unknown
 *     progress_at(&p, done, "1.2 M tokens");               // cheap, see below
 *     progress_end(&p, done, "wrote 12 chunks");           // erases the bar, prints one line with rate and time
 *
 * Silent for the first two seconds; then a bar ten times a second, or in a log a line every 10 s and after a minute
 * every 60 s. Also holds the clock. */
#ifndef MDM_BASE_PROGRESS_H
#define MDM_BASE_PROGRESS_H
#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label, *unit;
    double total, scale; /* shown amount = amount * scale */
    double started, drawn;
    double first; /* amount at the start (a resumed job): the rate leaves it out */
    bool terminal, shown, quiet;
    int lines;
};

double clock_seconds(void); /* monotonic */
/* "3 s", "2:05", "1:02:03", "2 d 3 h" in a caller's buffer. */
void clock_format(char out[32], double seconds);

void progress_start(struct progress *p, const char *label, const char *unit, double total, double scale);
void progress_at(struct progress *p, double amount, const char *note);
void progress_end(struct progress *p, double amount, const char *note);
/* Print a line to stderr without tearing the bar; p is NULL where there is no bar. Nothing when quiet. */
void progress_say(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
extern bool progress_quiet; /* --quiet, of every command: results and errors only */

#endif
