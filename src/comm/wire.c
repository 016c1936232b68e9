/* wire: see wire.h. */
#include "comm/wire.h"

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/ops.h"

int64_t wire_bytes(enum dtype type, int64_t room) {
    return type == DTYPE_BF16 ? 2 * room * (int64_t)sizeof(uint16_t) : 0;
}

int wire_open(struct wire *w, enum dtype type, int64_t room, struct err *err) {
    *w = (struct wire){.type = type, .room = room};
    if (type != DTYPE_BF16) return 0;
    w->out = mem_alloc(room, sizeof *w->out, "gradients on their way", err);
    w->in = mem_alloc(room, sizeof *w->in, "gradients on their way", err);
    return w->out && w->in ? 0 : -1;
}

void wire_close(struct wire *w) {
    mem_free(w->out);
    mem_free(w->in);
    *w = (struct wire){.type = DTYPE_F32};
}

void wire_round(const struct wire *w, float *v, int64_t n) {
    if (w->type == DTYPE_BF16) ops_round(v, DTYPE_BF16, n);
}

void wire_add(const struct wire *w, float *y, const float *x, int64_t n) {
    ops_add(y, x, n);
    wire_round(w, y, n);
}

static int64_t floats_of(const struct comm_piece *p) {
    return p->bytes / (int64_t)sizeof(float);
}

/* Is piece r the one before it, as in a gather? An empty one is none. */
static bool again(const struct comm_piece *p, int r) {
    return r > 0 && p[r].bytes > 0 && p[r - 1].bytes == p[r].bytes && p[r - 1].data == p[r].data;
}

/* Places for the pieces, one behind the other in v; one that comes again has its place. */
static void lay_out(struct comm_piece *narrow, const struct comm_piece *wide, uint16_t *v, const struct wire *w) {
    int64_t at = 0;
    for (int r = 0; r < comm_size(); r++) {
        const int64_t n = floats_of(&wide[r]);
        narrow[r] = (struct comm_piece){again(wide, r) ? narrow[r - 1].data : v + at, n * (int64_t)sizeof *v};
        at += again(wide, r) ? 0 : n;
        BUG_ON(at > w->room);
    }
}

void wire_exchange(const struct wire *w, const struct comm_piece *to, const struct comm_piece *from) {
    struct comm_piece out[COMM_RANKS], in[COMM_RANKS];
    if (w->type != DTYPE_BF16) {
        comm_exchange(to, from);
        return;
    }
    lay_out(out, to, w->out, w);
    lay_out(in, from, w->in, w);
    for (int r = 0; r < comm_size(); r++)
        if (!again(to, r)) ops_convert(out[r].data, DTYPE_BF16, to[r].data, DTYPE_F32, floats_of(&to[r]));
    comm_exchange(out, in);
    for (int r = 0; r < comm_size(); r++)
        ops_convert(from[r].data, DTYPE_F32, in[r].data, DTYPE_BF16, floats_of(&from[r]));
}
