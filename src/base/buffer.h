/* buffer: growing arrays of token ids and of bytes, appended to by whoever makes text or ids. */
#ifndef MDM_BASE_BUFFER_H
#define MDM_BASE_BUFFER_H
#include <stdint.h>

struct err;

struct ids { /* growing array of token ids; zero-initialise; ids_free() */
    int32_t *v;
    int64_t n, capacity;
};
struct bytes { /* growing byte string, v[n] is always 0 after a successful call; zero-initialise; bytes_free() */
    char *v;
    int64_t n, capacity;
};
void ids_free(struct ids *ids);
void bytes_free(struct bytes *b);
int ids_push(struct ids *ids, int32_t id, struct err *err);
int bytes_push(struct bytes *b, const char *data, int64_t n, struct err *err);
int bytes_printf(struct bytes *b, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Append s with every `find` (not empty) replaced by `put`. */
int bytes_push_replaced(struct bytes *b, const char *s, int64_t n, const char *find, const char *put, struct err *err);

#endif
