/* kvstore: one allocation, a `struct keys` of every layer in it. */
#include "model/kvstore.h"

#include "base/err.h"
#include "base/mem.h"

struct kvstore {
    int64_t L, G, D, capacity;
    enum dtype t;
    int64_t length, appended; /* committed positions; positions written behind them */
    int64_t layer_bytes;
    char *data;
};

static int64_t layer_bytes(const struct config *c, int64_t capacity, enum dtype t) {
    return keys_bytes(c->n_query_groups, config_head_dim(c), capacity, t);
}

int64_t kvstore_bytes(const struct config *c, int64_t capacity, enum dtype t) {
    return c->n_layer * layer_bytes(c, capacity, t);
}

int kvstore_open(struct kvstore **out, const struct config *c, int64_t capacity, enum dtype t, struct err *err) {
    BUG_ON(capacity < 1);
    *out = NULL;
    if (capacity > c->block_size)
        return err_set(err, "key/value store: %lld positions asked for, the model has %lld: use a shorter sequence",
                       (long long)capacity, (long long)c->block_size);
    struct kvstore *s = mem_alloc(1, sizeof *s, "key/value store", err);
    if (!s) return -1;
    *s = (struct kvstore){.L = c->n_layer,
                          .G = c->n_query_groups,
                          .D = config_head_dim(c),
                          .capacity = capacity,
                          .t = t,
                          .layer_bytes = layer_bytes(c, capacity, t)};
    s->data = mem_alloc(s->L, (size_t)s->layer_bytes, "key/value store", err);
    if (!s->data) {
        mem_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

void kvstore_close(struct kvstore *s) {
    if (!s) return;
    mem_free(s->data);
    mem_free(s);
}

int64_t kvstore_capacity(const struct kvstore *s) {
    return s->capacity;
}

int64_t kvstore_length(const struct kvstore *s) {
    return s->length;
}

void kvstore_commit(struct kvstore *s, int64_t n) {
    BUG_ON(n < 0 || n > s->appended);
    s->length += n;
    s->appended -= n;
}

void kvstore_truncate(struct kvstore *s, int64_t length) {
    BUG_ON(length < 0 || length > s->length);
    s->length = length;
    s->appended = 0;
}

bool kvstore_fits(const struct kvstore *s, const struct config *c) {
    return s->L == c->n_layer && s->G == c->n_query_groups && s->D == config_head_dim(c);
}

struct keys kvstore_layer(const struct kvstore *s, int64_t layer) {
    return (struct keys){
        .data = s->data + layer * s->layer_bytes, .capacity = s->capacity, .length = s->length, .t = s->t};
}

void kvstore_appended(struct kvstore *s, int64_t n) {
    BUG_ON(s->length + n > s->capacity);
    s->appended = n;
}
