/* err: formats the one-line messages of err.h. Knows nothing of files or exit statuses; those are the callers'. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message may quote bytes of a hostile file: whatever moves a terminal's cursor becomes '?'. That is C0, DEL, and
 * the C1 controls, which are C2 80 … C2 9F in UTF-8. */
static void make_one_line(char *s) {
    for (; *s; s++) {
        unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];
        if (c < 0x20 || c == 0x7f)
            s[0] = '?';
        else if (c == 0xc2 && next >= 0x80 && next < 0xa0)
            s[0] = s[1] = '?';
    }
}

/* Cut what did not fit at the start of a UTF-8 character and mark the cut. */
static void mark_cut(char *buf, size_t size) {
    size_t end = size - 4;
    while (end > 0 && ((unsigned char)buf[end] & 0xc0) == 0x80) end--;
    memcpy(buf + end, "...", 4);
}

/* The arguments may point into err->msg, so everything is put together in buffers of its own first. */
int err_set(struct err *err, const char *fmt, ...) {
    if (!err) return -1;
    char buf[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    if (n < 0) snprintf(buf, sizeof buf, "(unprintable message)");
    if (n >= (int)sizeof buf) mark_cut(buf, sizeof buf);
    make_one_line(buf);
    memcpy(err->msg, buf, sizeof buf);
    return -1;
}

int err_prefix(struct err *err, const char *fmt, ...) {
    if (!err) return -1;
    char prefix[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    return err_set(err, "%s: %s", prefix, err->msg);
}

_Noreturn void err_bug(const char *file, int line, const char *what) {
    fprintf(stderr, "mdm: BUG at %s:%d: %s\n", file, line, what);
    abort();
}
