/* progress: draws on stderr and reads the clock. Never on stdout, which belongs to results. */
#include "base/progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 24 };
static const double silent_seconds = 2, frame_seconds = 0.1, log_seconds = 10, late_log_seconds = 60, late_after = 60;
bool progress_quiet;

double clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void clock_format(char out[32], double seconds) {
    if (!(seconds >= 0 && seconds < 1e10)) {
        snprintf(out, 32, "?");
        return;
    }
    long long s = (long long)(seconds + 0.5);
    int sec = (int)(s % 60), min = (int)(s / 60 % 60), hours = (int)(s / 3600 % 24);
    if (s < 60)
        snprintf(out, 32, "%d s", sec);
    else if (s < 3600)
        snprintf(out, 32, "%d:%02d", min, sec);
    else if (s < 86400)
        snprintf(out, 32, "%d:%02d:%02d", hours, min, sec);
    else
        snprintf(out, 32, "%lld d %d h", s / 86400, hours);
}

void progress_start(struct progress *p, const char *label, const char *unit, double total, double scale) {
    *p = (struct progress){.label = label, .unit = unit, .total = total, .scale = scale};
    p->started = p->drawn = clock_seconds();
    p->terminal = isatty(STDERR_FILENO);
    p->quiet = progress_quiet;
}

static int columns(void) {
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void erase(struct progress *p) {
    if (p->terminal && p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}

/* Three digits or so: 0.123, 12.3, 1234. */
static int digits(double x) {
    return fabs(x) < 1 ? 3 : fabs(x) < 10 ? 2 : fabs(x) < 100 ? 1 : 0;
}

/* What is counted (scale 1) is shown in whole numbers, also in the midst of one. */
static int shown_digits(const struct progress *p, double x) {
    return p->scale == 1 ? 0 : digits(x);
}

static double shown(const struct progress *p, double amount) {
    return p->scale == 1 ? floor(amount) : amount * p->scale;
}

static double rate(const struct progress *p, double amount, double now) {
    double t = now - p->started;
    return t > 0 ? (amount - p->first) * p->scale / t : 0;
}

/* "12.0/48.0 MB, 3.1 MB/s, 0:12 left; note" */
static void describe(char *out, size_t size, const struct progress *p, double amount, double now, const char *note) {
    double done = amount * p->scale, all = p->total * p->scale, r = rate(p, amount, now);
    int d = shown_digits(p, p->total > 0 ? all : done), n = snprintf(out, size, "%.*f", d, shown(p, amount));
    if (p->total > 0) n += snprintf(out + n, size - (size_t)n, "/%.*f", d, all);
    n += snprintf(out + n, size - (size_t)n, " %s, %.*f %s/s", p->unit, digits(r), r, p->unit);
    if (all > done && r > 0) {
        char left[32];
        clock_format(left, (all - done) / r);
        n += snprintf(out + n, size - (size_t)n, ", %s left", left);
    }
    if (note && *note && (size_t)n < size) snprintf(out + n, size - (size_t)n, "; %s", note);
}

static void draw_bar(struct progress *p, double amount, const char *text) {
    char bar[BAR + 8] = "";
    if (p->total > 0) {
        double share = amount / p->total;
        int full = share >= 1 ? BAR : share > 0 ? (int)(share * BAR) : 0;
        snprintf(bar, sizeof bar, "[%.*s%*s] ", full, "########################", BAR - full, "");
    }
    char line[512];
    snprintf(line, sizeof line, "%s %s%s", p->label, bar, text);
    fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    fflush(stderr);
    p->shown = true;
}

static void line_out(struct progress *p, double amount, double now, const char *note) {
    char text[400];
    describe(text, sizeof text, p, amount, now, note);
    if (p->terminal)
        draw_bar(p, amount, text);
    else
        fprintf(stderr, "%s: %s\n", p->label, text);
    p->lines++;
    p->drawn = now;
}

void progress_at(struct progress *p, double amount, const char *note) {
    if (p->quiet) return;
    double now = clock_seconds(), age = now - p->started;
    double wait = p->terminal ? frame_seconds : age < late_after ? log_seconds : late_log_seconds;
    if (age < silent_seconds || (p->lines > 0 && now - p->drawn < wait)) return;
    line_out(p, amount, now, note);
}

/* Jobs shorter than the silent time end silently too, unless there is a note. */
void progress_end(struct progress *p, double amount, const char *note) {
    erase(p);
    double now = clock_seconds(), age = now - p->started, r = rate(p, amount, now);
    bool noted = note && *note;
    if (p->quiet || (age < silent_seconds && !noted)) return;
    char took[32];
    clock_format(took, age);
    const double all = shown(p, amount);
    const size_t n = strlen(p->unit), one = all == 1 && n > 0 && p->unit[n - 1] == 's'; /* "1 step" */
    fprintf(stderr, "%s: %.*f %.*s in %s", p->label, shown_digits(p, amount * p->scale), all, (int)(n - one), p->unit,
            took);
    if (age >= silent_seconds) fprintf(stderr, ", %.*f %s/s", digits(r), r, p->unit);
    fprintf(stderr, "%s%s\n", noted ? "; " : "", noted ? note : "");
}

void progress_say(struct progress *p, const char *fmt, ...) {
    if (p) erase(p);
    if (p ? p->quiet : progress_quiet) return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    if (p) p->drawn = 0; /* the bar comes back with the next progress_at() */
}
