/* scatter: see scatter.h. */
#include "train/scatter.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "comm/comm.h"
#include "compute/ops.h"

static bool last_pass(int64_t leaves, int ranks, int64_t pass) {
    return (pass + 1) * ranks >= leaves;
}

/* A sum over passes never travels, and would lose more with each of them. */
static void add(const struct wire *wire, bool in_passes, float *y, const float *x, int64_t n) {
    if (in_passes)
        ops_add(y, x, n);
    else
        wire_add(wire, y, x, n);
}

/* What n blocks that stand become with the leaves of a pass; `sums`, unless NULL, are their sums over `count` elements, and
 * arrived[r] those of rank r. */
static int add_leaves(struct tree_block *stack, int n, int64_t leaves, int ranks, int64_t pass, bool in_passes,
                      float **sums, float *const *arrived, int64_t count, const struct wire *wire) {
    for (int64_t r = 0; r < ranks && pass * ranks + r < leaves; r++) {
        BUG_ON(n == TREE_DEPTH);
        if (sums) sums[n] = arrived[r];
        stack[n++] = (struct tree_block){pass * ranks + r, 1};
        for (; tree_joins(stack, n); n = tree_join(stack, n))
            if (sums) add(wire, in_passes, sums[n - 2], sums[n - 1], count);
    }
    for (; n > 1 && (in_passes || last_pass(leaves, ranks, pass)); n--) {
        stack[n - 2].count += stack[n - 1].count;
        if (sums) add(wire, in_passes, sums[n - 2], sums[n - 1], count);
    }
    return n;
}

static int buffers_for(int64_t leaves, bool in_passes, int ranks) {
    struct tree_block stack[TREE_DEPTH];
    int n = 0, most = 1;
    for (int64_t pass = 0; pass * ranks < leaves; pass++) {
        n = add_leaves(stack, n, leaves, ranks, pass, in_passes, NULL, NULL, 0, NULL);
        most = n > most ? n : most;
    }
    return most;
}

/* Of a slice; no more than the longest one, and the same on all ranks. */
static int64_t turn_for(const struct params *p, int ranks) {
    int64_t longest = 0;
    for (int part = 0; part < params_parts(p); part++) {
        const int64_t n = params_part(p, part).floats;
        longest = n > longest ? n : longest;
    }
    longest = longest / ranks + SHARDS_PIECE;
    return longest < TREE_ROOM / ranks ? longest : TREE_ROOM / ranks;
}

int64_t scatter_bytes(const struct params *p, int64_t kept, int64_t leaves, bool in_passes, enum dtype wire,
                      int ranks) {
    return 4 * (kept * buffers_for(leaves, in_passes, ranks) + turn_for(p, ranks) * ranks) +
           leaves * (int64_t)sizeof(double) + wire_bytes(wire, turn_for(p, ranks) * ranks);
}

int64_t scatter_exchanges(const struct params *p, int part, int ranks) {
    const int64_t turn = turn_for(p, ranks);
    return divide_up(shards_longest(p, part, ranks), turn);
}

int scatter_open(struct scatter *g, const struct shards *s, int64_t leaves, bool in_passes, enum dtype wire,
                 struct err *err) {
    *g = (struct scatter){.shards = s,
                          .leaves = leaves,
                          .in_passes = in_passes,
                          .buffers = buffers_for(leaves, in_passes, s->ranks),
                          .turn = turn_for(s->params, s->ranks)};
    g->loss = mem_alloc(leaves, sizeof *g->loss, "gradient", err);
    g->room = mem_alloc(g->turn * s->ranks, sizeof *g->room, "gradients of other processes", err);
    if (!g->loss || !g->room || wire_open(&g->wire, wire, g->turn * s->ranks, err) < 0) return -1;
    for (int i = 0; i < g->buffers; i++)
        if (!(g->v[i] = mem_alloc(s->kept, sizeof *g->v[i], "gradient", err))) return -1;
    return 0;
}

void scatter_close(struct scatter *g) {
    for (int i = 0; i < g->buffers; i++) mem_free(g->v[i]);
    mem_free(g->loss);
    mem_free(g->room);
    wire_close(&g->wire);
    *g = (struct scatter){0};
}

int64_t scatter_passes(const struct scatter *g) {
    return divide_up(g->leaves, g->shards->ranks);
}

int64_t scatter_leaf(const struct scatter *g) {
    return g->pass * g->shards->ranks + g->shards->me;
}

void scatter_start(struct scatter *g) {
    g->pass = 0;
    g->count = 0;
}

static int64_t clip(int64_t n, int64_t most) {
    return n < 0 ? 0 : n < most ? n : most;
}

/* Elements [at, at + turn) of every rank's slice of a part. */
static void exchange(const struct scatter *g, const int64_t *slices, int64_t offset, float *grad, int64_t at,
                     float *arrived[COMM_RANKS]) {
    struct comm_piece to[COMM_RANKS], from[COMM_RANKS];
    const struct shards *s = g->shards;
    const int64_t mine = clip(slices[s->me + 1] - slices[s->me] - at, g->turn), leaf = scatter_leaf(g) - s->me;
    for (int r = 0; r < s->ranks; r++) {
        float *out = grad + (slices[r] - offset + at);
        arrived[r] = r == s->me ? out : g->room + r * g->turn;
        to[r] = (struct comm_piece){
            out, leaf + s->me < g->leaves ? clip(slices[r + 1] - slices[r] - at, g->turn) * (int64_t)sizeof *out : 0};
        from[r] = (struct comm_piece){arrived[r], leaf + r < g->leaves ? mine * (int64_t)sizeof *out : 0};
    }
    wire_exchange(&g->wire, to, from);
}

void scatter_part(struct scatter *g, int part, float *grad) {
    const struct shards *s = g->shards;
    const int64_t *slices = shards_slices(s, part), offset = params_part(s->params, part).offset;
    const int64_t longest = shards_longest(s->params, part, s->ranks);
    wire_round(&g->wire, grad, params_part(s->params, part).floats);
    for (int64_t at = 0; at < longest; at += g->turn) {
        float *sums[TREE_DEPTH], *arrived[COMM_RANKS];
        struct tree_block stack[TREE_DEPTH];
        const int64_t count = clip(slices[s->me + 1] - slices[s->me] - at, g->turn), place = s->at[part] + at;
        exchange(g, slices, offset, grad, at, arrived);
        if (count == 0) continue;
        memcpy(stack, g->stack, sizeof stack);
        for (int k = 0; k < g->count; k++) sums[k] = g->v[k] + place;
        const int n =
            add_leaves(stack, g->count, g->leaves, s->ranks, g->pass, g->in_passes, sums, arrived, count, &g->wire);
        for (int k = 0; k < n; k++)
            if (sums[k] != g->v[k] + place) memcpy(g->v[k] + place, sums[k], (size_t)count * sizeof *sums[k]);
    }
}

void scatter_leave(struct scatter *g, double loss) {
    const int64_t first = scatter_leaf(g) - g->shards->me;
    int64_t places[COMM_RANKS + 1];
    if (scatter_leaf(g) < g->leaves) g->loss[scatter_leaf(g)] = loss;
    for (int r = 0; r <= g->shards->ranks; r++) places[r] = clip(r, g->leaves - first) * (int64_t)sizeof *g->loss;
    comm_gather(g->loss + first, places);
    g->count = add_leaves(g->stack, g->count, g->leaves, g->shards->ranks, g->pass, g->in_passes, NULL, NULL, 0, NULL);
    g->pass++;
}

double scatter_loss(const struct scatter *g) {
    return tree_fold_f64(g->loss, g->leaves);
}
