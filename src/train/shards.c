/* shards: see shards.h. */
#include "train/shards.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "comm/comm.h"
#include "compute/ops.h"

static int64_t pieces(int64_t n) {
    return divide_up(n, SHARDS_PIECE);
}

/* Where the slice of a rank begins. */
static int64_t slice_first(const struct params *p, int part, int ranks, int rank) {
    const struct param_part of = params_part(p, part);
    const int64_t at = pieces(of.floats) * rank / ranks * SHARDS_PIECE;
    return of.offset + (at < of.floats ? at : of.floats);
}

const int64_t *shards_slices(const struct shards *s, int part) {
    return s->first + (int64_t)part * (s->ranks + 1);
}

static int64_t own(const struct shards *s, int part) {
    return shards_slices(s, part)[s->me + 1] - shards_slices(s, part)[s->me];
}

int64_t shards_measure(const struct params *p, enum shard shard, int ranks, int rank) {
    int64_t n = 0;
    for (int part = 0; part < params_parts(p); part++)
        n += slice_first(p, part, ranks, rank + 1) - slice_first(p, part, ranks, rank);
    return shard == SHARD_NONE ? p->total : n;
}

int64_t shards_longest(const struct params *p, int part, int ranks) {
    int64_t longest = 0;
    for (int r = 0; r < ranks; r++) {
        const int64_t n = slice_first(p, part, ranks, r + 1) - slice_first(p, part, ranks, r);
        longest = n > longest ? n : longest;
    }
    return longest;
}

int shards_open(struct shards *s, const struct params *p, enum shard shard, struct err *err) {
    int64_t all = 0;
    *s = (struct shards){
        .params = p, .whole = shard == SHARD_NONE, .parts = params_parts(p), .ranks = comm_size(), .me = comm_rank()};
    s->first = mem_alloc((int64_t)s->parts * (s->ranks + 1), sizeof *s->first, "the list of shards", err);
    s->at = mem_alloc(s->parts, sizeof *s->at, "the list of shards", err);
    if (!s->first || !s->at) return -1;
    for (int part = 0; part < s->parts; part++) {
        for (int r = 0; r <= s->ranks; r++) s->first[part * (s->ranks + 1) + r] = slice_first(p, part, s->ranks, r);
        s->at[part] = s->whole ? shards_slices(s, part)[s->me] : s->kept;
        s->kept += own(s, part);
        all += pieces(params_part(p, part).floats);
    }
    if (s->whole) s->kept = p->total;
    s->sums = mem_alloc(all, sizeof *s->sums, "sums of squares", err);
    return s->sums ? 0 : -1;
}

void shards_close(struct shards *s) {
    mem_free(s->first);
    mem_free(s->at);
    mem_free(s->sums);
    *s = (struct shards){0};
}

int shards_ranges(const struct shards *s) {
    return s->whole ? 1 : s->parts;
}

struct shard_range shards_range(const struct shards *s, int i) {
    if (s->whole) return (struct shard_range){0, s->params->total, 0};
    return (struct shard_range){shards_slices(s, i)[s->me], own(s, i), s->at[i]};
}

struct shard_range shards_cut(const struct params *p, int part, int ranks, int rank, int64_t first, int64_t end) {
    const int64_t slice = slice_first(p, part, ranks, rank), next = slice_first(p, part, ranks, rank + 1);
    const int64_t from = max64(first, slice), to = min64(end, next);
    return from < to ? (struct shard_range){from, to - from, from - slice} : (struct shard_range){first, 0, 0};
}

double shards_norm(struct shards *s, const float *v, bool kept) {
    int64_t first[COMM_RANKS + 1] = {0}, next[COMM_RANKS];
    double sum = 0;
    for (int r = 0; r < s->ranks; r++) {
        next[r] = first[r + 1] = first[r];
        for (int part = 0; part < s->parts; part++)
            first[r + 1] += pieces(shards_slices(s, part)[r + 1] - shards_slices(s, part)[r]);
    }
    for (int part = 0, at = (int)first[s->me]; part < s->parts; at += (int)pieces(own(s, part)), part++)
        ops_square_sums(s->sums + at, v + (kept ? s->at[part] : shards_slices(s, part)[s->me]), own(s, part),
                        SHARDS_PIECE);
    for (int r = 0; r <= s->ranks; r++) first[r] *= (int64_t)sizeof *s->sums;
    comm_gather(s->sums, first);
    for (int part = 0; part < s->parts; part++)
        for (int r = 0; r < s->ranks; r++)
            for (int64_t k = pieces(shards_slices(s, part)[r + 1] - shards_slices(s, part)[r]); k > 0; k--)
                sum += s->sums[next[r]++];
    return sqrt(sum);
}
