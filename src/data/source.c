/* source: the loader as a source of examples without prompts, and a source made of another one. */
#include "data/source.h"

#include "base/err.h"
#include "data/loader.h"

static int read_block(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    struct loader *l = context;
    *e = (struct example){.n = loader_take(l)};
    return ids ? loader_block(l, number, ids, err) : 0;
}

static double block_epoch(const void *context, int64_t number) {
    return loader_epoch(context, number);
}

struct source source_of_blocks(struct loader *l) {
    return (struct source){.context = l,
                           .read = read_block,
                           .epoch = block_epoch,
                           .size = loader_blocks(l),
                           .longest = loader_take(l),
                           .group = 1,
                           .fingerprint = loader_fingerprint(l)};
}

static int read_twice(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    const struct source *s = context;
    return s->read(s->context, number / 2, ids, e, err);
}

static double epoch_of_pairs(const void *context, int64_t number) {
    const struct source *s = context;
    return s->epoch(s->context, number / 2);
}

struct source source_in_pairs(const struct source *s) {
    struct source pairs = *s;
    pairs.context = (void *)(uintptr_t)s; /* only read */
    pairs.read = read_twice;
    pairs.epoch = epoch_of_pairs;
    pairs.size *= 2;
    pairs.group *= 2;
    return pairs;
}
