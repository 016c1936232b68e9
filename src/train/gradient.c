/* gradient: see gradient.h. */
#include "train/gradient.h"

#include "base/mem.h"
#include "base/num.h"
#include "comm/comm.h"
#include "compute/ops.h"

static int64_t room_for(int64_t leaves, int ranks) {
    return ranks > 1 ? tree_room(leaves, ranks) : 0;
}

static int64_t wire_for(int64_t leaves, int ranks) {
    return ranks > 1 ? tree_wire(leaves, ranks) : 0;
}

int64_t gradient_bytes(int64_t n, int64_t leaves, enum dtype wire, int ranks, int rank) {
    return 4 * (n * tree_standing(leaves, ranks, rank) + room_for(leaves, ranks)) +
           wire_bytes(wire, wire_for(leaves, ranks));
}

int gradient_open(struct gradient *g, const struct shards *s, int64_t leaves, enum dtype wire, struct err *err) {
    *g = (struct gradient){
        .shards = s, .n = s->params->total, .leaves = leaves, .buffers = tree_standing(leaves, s->ranks, s->me)};
    g->room = mem_alloc(room_for(leaves, s->ranks), 4, "gradients of other processes", err);
    if (!g->room || wire_open(&g->wire, wire, wire_for(leaves, s->ranks), err) < 0) return -1;
    for (int i = 0; i < g->buffers; i++)
        if (!(g->v[i] = mem_alloc(g->n, 4, "gradient", err))) return -1;
    return 0;
}

void gradient_close(struct gradient *g) {
    for (int i = 0; i < g->buffers; i++) mem_free(g->v[i]);
    mem_free(g->room);
    wire_close(&g->wire);
    *g = (struct gradient){0};
}

int64_t gradient_first(const struct gradient *g, int next) {
    return tree_first(g->leaves, comm_rank() + next);
}

void gradient_start(struct gradient *g) {
    g->count = 0;
}

float *gradient_enter(struct gradient *g) {
    ops_zero(g->v[g->count], g->n * 4);
    return g->v[g->count];
}

/* What stands at the top of the stack is added to what lies below it, and is gone. */
static void fold(struct gradient *g) {
    const int top = g->count - 1;
    wire_add(&g->wire, g->v[top - 1], g->v[top], g->n);
    g->loss[top - 1] += g->loss[top];
}

void gradient_leave(struct gradient *g, int64_t leaf, double loss) {
    wire_round(&g->wire, g->v[g->count], g->n);
    g->stack[g->count] = (struct tree_block){leaf, 1};
    g->loss[g->count++] = loss;
    while (tree_joins(g->stack, g->count)) {
        fold(g);
        g->count = tree_join(g->stack, g->count);
    }
}

void gradient_sum(struct gradient *g, double *loss) {
    const struct shards *s = g->shards;
    if (s->ranks == 1) {
        for (; g->count > 1; g->count--) fold(g);
        *loss = g->loss[0];
        return;
    }
    *loss = tree_sum_f64(g->loss, g->leaves);
    for (int part = 0; part < s->parts; part++)
        tree_sum(g->v[0] + shards_slices(s, part)[s->me], g->v, g->leaves, shards_slices(s, part), g->room, &g->wire);
}

/* Elements [at, at + turn) of every rank's slice, to all. */
static void gather_turn(struct gradient *g, const int64_t *slices, int64_t at, int64_t turn) {
    struct comm_piece to[COMM_RANKS], from[COMM_RANKS];
    for (int r = 0; r < g->shards->ranks; r++) {
        const int64_t left = max64(slices[r + 1] - slices[r] - at, 0);
        from[r] = (struct comm_piece){g->v[0] + slices[r] + at, min64(left, turn) * (int64_t)sizeof *g->v[0]};
    }
    for (int r = 0; r < g->shards->ranks; r++) to[r] = from[g->shards->me];
    wire_exchange(&g->wire, to, from);
}

static int64_t turn_for(int64_t longest, int64_t leaves, enum dtype wire, int ranks) {
    return wire == DTYPE_F32 ? longest : wire_for(leaves, ranks) / ranks;
}

int64_t gradient_exchanges(const struct params *p, int part, int64_t leaves, enum dtype wire, int ranks) {
    const int64_t longest = shards_longest(p, part, ranks), turn = turn_for(longest, leaves, wire, ranks);
    return divide_up(longest, turn);
}

void gradient_gather(struct gradient *g) {
    const struct shards *s = g->shards;
    for (int part = 0; part < s->parts && s->ranks > 1; part++) {
        const int64_t longest = shards_longest(s->params, part, s->ranks);
        const int64_t turn = turn_for(longest, g->leaves, g->wire.type, s->ranks);
        for (int64_t at = 0; at < longest; at += turn) gather_turn(g, shards_slices(s, part), at, turn);
    }
}
