/* reserve: see reserve.h. */
#include "train/reserve.h"

#include "base/err.h"
#include "base/num.h"
#include "comm/tree.h"
#include "train/gradient.h"
#include "train/muon.h"
#include "train/scatter.h"
#include "train/sharded.h"

enum { ROWS_WANTED = 8192, ROWS_LEAST = 1024 };

int64_t reserve_micro_batch(int64_t batch, int64_t length) {
    return min64(max64(ROWS_WANTED / length, 1), batch);
}

int64_t reserve_leaves(const struct trainer_settings *s, int64_t micro, int ranks) {
    const int64_t passes = s->shard == SHARD_FULL ? divide_up(s->batch, micro * ranks) : 1;
    return s->sum_groups > 0 ? s->sum_groups : passes * ranks;
}

int64_t reserve_bytes(const struct reserve *r) {
    return r->state + r->gradient + r->images + r->activations;
}

/* What is as large as the model. */
static void hold(struct reserve *r, const struct trainer_settings *s, const struct weights *w, int ranks, int rank) {
    const struct params *p = &w->params;
    const int64_t kept = shards_measure(p, s->shard, ranks, rank);
    r->leaves = reserve_leaves(s, r->micro, ranks);
    r->state = 12 * kept + (s->muon ? muon_bytes(p, s->shard, ranks, rank) : 0);
    r->images = sharded_bytes(w, s->shard);
    r->gradient = s->shard == SHARD_FULL ? scatter_bytes(p, kept, r->leaves, s->sum_groups == 0, s->wire, ranks)
                                         : gradient_bytes(p->total, r->leaves, s->wire, ranks, rank);
}

int reserve_neediest(const struct trainer_settings *s, const struct weights *w, int ranks) {
    const int64_t leaves = reserve_leaves(s, 1, ranks);
    int64_t most = -1;
    int which = 0;
    for (int r = 0; r < ranks; r++) {
        const int buffers = s->shard == SHARD_FULL ? 0 : tree_standing(leaves, ranks, r);
        const int64_t needs = 12 * shards_measure(&w->params, s->shard, ranks, r) + 4 * buffers * w->params.total +
                              (s->muon ? muon_bytes(&w->params, s->shard, ranks, r) : 0);
        if (needs > most) most = needs, which = r;
    }
    return which;
}

int reserve_memory(struct reserve *out, const struct trainer_settings *s, const struct weights *w, int64_t rows,
                   int ranks, int rank, int64_t memory, struct err *err) {
    static const struct residency elsewhere = {0};
    const bool choose = s->micro_batch == 0 && s->sum_groups == 0;
    const int64_t most = s->sum_groups > 0 ? divide_up(s->batch, s->sum_groups)
                         : choose          ? reserve_micro_batch(s->batch, rows)
                                           : max64(1, min64(s->micro_batch, s->batch));
    struct transformer_settings set = {
        .precision = s->precision, .training = true, .residency = s->shard == SHARD_FULL ? &elsewhere : NULL};
    struct reserve r = {.micro = most, .recompute = s->recompute};
    for (;;) {
        set.max_rows = r.micro * rows;
        set.recompute = r.recompute;
        hold(&r, s, w, ranks, rank);
        r.activations = transformer_measure(w, &set, err);
        if (r.activations < 0) return -1;
        r.fits = (double)reserve_bytes(&r) <= RESERVE_SHARE * (double)memory;
        *out = r;
        if (r.fits) return 0;
        if (choose && r.micro > 1 && (r.recompute || set.max_rows >= 2 * ROWS_LEAST)) {
            r.micro = (r.micro + 1) / 2;
        } else if (!r.recompute) {
            r.recompute = true;
            r.micro = most;
        } else {
            return 0; /* it may fit all the same */
        }
    }
}

int reserve_check(const struct reserve *r, const struct trainer_settings *s, int64_t memory, struct err *err) {
    const double gib = (double)(1 << 30);
    if (reserve_bytes(r) <= memory) return 0;
    const bool alone = reserve_bytes(r) - r->activations > memory; /* what is as large as the model is too much */
    const char *cut = alone               ? (s->sum_groups > 0 ? " or fewer --sum-groups" : "")
                      : r->micro == 1     ? " or --length"
                      : s->sum_groups > 0 ? " or --length, more --sum-groups"
                                          : " or --length, a smaller --micro-batch";
    return err_set(
        err,
        "memory: training needs %.2f GiB in micro-batches of %lld, and this process may use %.2f GiB: take a "
        "smaller model%s, or several machines and --shard full",
        (double)reserve_bytes(r) / gib, (long long)r->micro, (double)memory / gib, cut);
}
