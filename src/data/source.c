/* source: the loader as a source of examples without prompts. */
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
