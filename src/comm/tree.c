/* tree: see tree.h. Each rank adds up its own slice of all ranks' blocks, a piece at a time. */
#include "comm/tree.h"

#include <string.h>

#include "base/err.h"
#include "base/num.h"
#include "comm/comm.h"
#include "comm/wire.h"

bool tree_joins(const struct tree_block *stack, int n) {
    return n > 1 && stack[n - 2].count == stack[n - 1].count && stack[n - 2].first % (2 * stack[n - 2].count) == 0;
}

int tree_join(struct tree_block *stack, int n) {
    stack[n - 2].count *= 2;
    return n - 1;
}

int64_t tree_share(int64_t leaves, int ranks, int rank) {
    return rank * leaves / ranks;
}

int64_t tree_first(int64_t leaves, int rank) {
    return tree_share(leaves, comm_size(), rank);
}

/* Adds a rank's leaves: *n blocks are left; returns how many stood at once at most. */
static int add_leaves(struct tree_block *out, int *n, int64_t leaves, int ranks, int rank) {
    int most = 0;
    *n = 0;
    for (int64_t i = tree_share(leaves, ranks, rank); i < tree_share(leaves, ranks, rank + 1); i++) {
        BUG_ON(*n == TREE_DEPTH);
        out[(*n)++] = (struct tree_block){i, 1};
        most = *n > most ? *n : most;
        while (tree_joins(out, *n)) *n = tree_join(out, *n);
    }
    return most;
}

int tree_blocks(struct tree_block out[TREE_DEPTH], int64_t leaves, int ranks, int rank) {
    int n;
    add_leaves(out, &n, leaves, ranks, rank);
    return n;
}

int tree_standing(int64_t leaves, int ranks, int rank) {
    struct tree_block b[TREE_DEPTH];
    int n;
    return add_leaves(b, &n, leaves, ranks, rank);
}

static int most_blocks(int64_t leaves, int ranks) {
    struct tree_block b[TREE_DEPTH];
    int most = 0;
    for (int r = 0; r < ranks; r++) {
        const int n = tree_blocks(b, leaves, ranks, r);
        most = n > most ? n : most;
    }
    return most;
}

/* How many of every block. */
static int64_t turn_for(int64_t leaves, int ranks) {
    return TREE_ROOM / ((int64_t)most_blocks(leaves, ranks) * ranks);
}

int64_t tree_room(int64_t leaves, int ranks) {
    return (int64_t)most_blocks(leaves, ranks) * ranks * turn_for(leaves, ranks);
}

int64_t tree_wire(int64_t leaves, int ranks) {
    return ranks * turn_for(leaves, ranks);
}

int64_t tree_exchanges(int64_t leaves, int ranks, int64_t longest) {
    const int64_t turn = turn_for(leaves, ranks);
    return divide_up(longest, turn) * most_blocks(leaves, ranks);
}

/* Element [from, to) of rank r's slice in turn `at`. */
static int64_t piece_of(const int64_t *slice, int r, int64_t at, int64_t turn, int64_t *from) {
    const int64_t left = slice[r + 1] - slice[r] - at;
    *from = slice[r] + at;
    return left < 0 ? 0 : left < turn ? left : turn;
}

/* Piece `at` of every rank's slice to that rank; block b of rank r arrives at room[(b·ranks + r)·turn]. */
static void deal(float *const *v, int64_t leaves, const int64_t *slice, int64_t at, int64_t turn, float *room,
                 const struct wire *wire) {
    struct comm_piece to[COMM_RANKS], from[COMM_RANKS];
    struct tree_block blocks[TREE_DEPTH];
    const int me = comm_rank(), ranks = comm_size(), mine = tree_blocks(blocks, leaves, ranks, me),
              most = most_blocks(leaves, ranks);
    int64_t first;
    for (int b = 0; b < most; b++) {
        for (int r = 0; r < ranks; r++) {
            const int64_t out = piece_of(slice, r, at, turn, &first);
            to[r] = (struct comm_piece){b < mine ? v[b] + first : NULL, b < mine ? out * 4 : 0};
            const int64_t in = piece_of(slice, me, at, turn, &first);
            from[r] = (struct comm_piece){room + ((int64_t)b * ranks + r) * turn,
                                          b < tree_blocks(blocks, leaves, ranks, r) ? in * 4 : 0};
        }
        wire_exchange(wire, to, from);
    }
}

void tree_sum(float *out, float *const *v, int64_t leaves, const int64_t *slice, float *room, const struct wire *wire) {
    struct tree_block blocks[TREE_DEPTH], stack[TREE_DEPTH];
    const int me = comm_rank(), ranks = comm_size();
    const int64_t turn = turn_for(leaves, ranks);
    int64_t longest = 0, first;
    for (int r = 0; r < ranks; r++) longest = slice[r + 1] - slice[r] > longest ? slice[r + 1] - slice[r] : longest;
    for (int64_t at = 0; at < longest; at += turn) {
        float *sums[TREE_DEPTH];
        const int64_t count = piece_of(slice, me, at, turn, &first);
        int n = 0;
        deal(v, leaves, slice, at, turn, room, wire);
        for (int r = 0; r < ranks; r++) {
            const int some = tree_blocks(blocks, leaves, ranks, r);
            for (int b = 0; b < some; b++) {
                sums[n] = room + ((int64_t)b * ranks + r) * turn;
                stack[n++] = blocks[b];
                for (; tree_joins(stack, n); n = tree_join(stack, n)) wire_add(wire, sums[n - 2], sums[n - 1], count);
            }
        }
        for (; n > 1; n--) wire_add(wire, sums[n - 2], sums[n - 1], count);
        if (count > 0) memcpy(out + at, sums[0], (size_t)count * 4);
    }
}

/* Adds block b, of sum v, to n blocks that stand; returns how many stand then. */
static int stand_f64(struct tree_block *stack, double *sums, int n, struct tree_block b, double v) {
    stack[n] = b;
    sums[n++] = v;
    for (; tree_joins(stack, n); n = tree_join(stack, n)) sums[n - 2] += sums[n - 1];
    return n;
}

static double rest_f64(double *sums, int n) {
    for (; n > 1; n--) sums[n - 2] += sums[n - 1];
    return sums[0];
}

double tree_fold_f64(const double *v, int64_t leaves) {
    struct tree_block stack[TREE_DEPTH];
    double sums[TREE_DEPTH] = {0};
    int n = 0;
    for (int64_t i = 0; i < leaves; i++) n = stand_f64(stack, sums, n, (struct tree_block){i, 1}, v[i]);
    return rest_f64(sums, n);
}

double tree_sum_f64(const double *v, int64_t leaves) {
    double all[COMM_RANKS * TREE_DEPTH];
    struct tree_block blocks[TREE_DEPTH], stack[TREE_DEPTH];
    int64_t first[COMM_RANKS + 1] = {0};
    const int me = comm_rank(), ranks = comm_size();
    for (int r = 0; r < ranks; r++)
        first[r + 1] = first[r] + tree_blocks(blocks, leaves, ranks, r) * (int64_t)sizeof *v;
    memcpy((char *)all + first[me], v, (size_t)(first[me + 1] - first[me]));
    comm_gather(all, first);
    double sums[TREE_DEPTH] = {0};
    const double *next = all;
    int n = 0;
    for (int r = 0; r < ranks; r++) {
        const int some = tree_blocks(blocks, leaves, ranks, r);
        for (int b = 0; b < some; b++) n = stand_f64(stack, sums, n, blocks[b], *next++);
    }
    return rest_f64(sums, n);
}
