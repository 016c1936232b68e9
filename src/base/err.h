/* err: how the world's faults travel up.
 *
 *     struct err err = {{0}};
 *     if (thing_open(&t, path, &err) < 0) { fprintf(stderr, "mdm: %s\n", err.msg); return 2; }
 *
 * A function that can fail because of a file, a setting or the machine takes `struct err *` last, and returns
 * a negative number (or NULL) after err_set(). The message is one line: what, where, what was expected, what
 * was found, what to do. Our own mistakes are BUG_ON(), which stops the program. Only cmd/
 * prints such messages and exits. */
#ifndef MDM_BASE_ERR_H
#define MDM_BASE_ERR_H

struct err {
    char msg[1024]; /* one line, no newline, NUL-terminated; empty when nothing failed */
};

/* Write the message, in place of one that was there. Control characters, which would break the line, become '?'.
 * Returns -1, so that `return err_set(…)` reads well. */
int err_set(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Put "prefix: " before the message that a callee has set. Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A programming error: says where and aborts. */
_Noreturn void err_bug(const char *file, int line, const char *what);
#define BUG_ON(cond)                                                                                                   \
    do {                                                                                                               \
        if (cond) err_bug(__FILE__, __LINE__, #cond);                                                                  \
    } while (0)

#endif
