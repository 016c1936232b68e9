/* buffer: see buffer.h. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

void ids_free(struct ids *ids) {
    mem_free(ids->v);
    *ids = (struct ids){0};
}

void bytes_free(struct bytes *b) {
    mem_free(b->v);
    *b = (struct bytes){0};
}

int ids_push(struct ids *ids, int32_t id, struct err *err) {
    if (ids->n == ids->capacity &&
        mem_grow(&ids->v, &ids->capacity, ids->n ? ids->n + 1 : 64, sizeof *ids->v, "token ids", err) < 0) {
        return -1;
    }
    ids->v[ids->n++] = id;
    return 0;
}

int bytes_push(struct bytes *b, const char *data, int64_t n, struct err *err) {
    if (b->n + n >= b->capacity && mem_grow(&b->v, &b->capacity, b->n + n + 64, 1, "text", err) < 0) return -1;
    if (n > 0) memcpy(b->v + b->n, data, (size_t)n);
    b->n += n;
    b->v[b->n] = 0;
    return 0;
}

int bytes_printf(struct bytes *b, struct err *err, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    BUG_ON(n < 0);
    const int r = b->n + n < b->capacity ? 0 : mem_grow(&b->v, &b->capacity, b->n + n + 1, 1, "text", err);
    if (r == 0) b->n += vsnprintf(b->v + b->n, (size_t)n + 1, fmt, again);
    va_end(again);
    return r;
}

int bytes_push_replaced(struct bytes *out, const char *s, int64_t n, const char *find, const char *put,
                        struct err *err) {
    size_t find_n = strlen(find);
    for (const char *at; n > 0 && (at = memmem(s, (size_t)n, find, find_n)) != NULL;) {
        if (bytes_push(out, s, at - s, err) < 0 || bytes_push(out, put, (int64_t)strlen(put), err) < 0) return -1;
        n -= at - s + (int64_t)find_n;
        s = at + find_n;
    }
    return bytes_push(out, s, n, err);
}
