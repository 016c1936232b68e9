/* buffer: see buffer.h. */
#include "base/buffer.h"

#include <string.h>

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
