/* vocab: see the header. One arena for the texts, one array by id, one hash table of ids. */
#include "text/vocab.h"
#include "base/err.h"
#include "base/mem.h"

static void insert(struct vocab *v, int32_t id) {
    int64_t n;
    const char *text = vocab_text(v, id, &n);
    uint64_t i = hash_bytes(text, n) & (uint64_t)(v->slots - 1);
    while (v->slot[i] != 0) i = (i + 1) & (uint64_t)(v->slots - 1);
    v->slot[i] = id + 1;
    v->used++;
}

static int rehash(struct vocab *v, struct err *err) {
    int64_t want = v->slots ? v->slots * 2 : 1024;
    int32_t *slot = mem_alloc(want, sizeof *slot, "vocabulary", err);
    if (slot == NULL) return -1;
    mem_free(v->slot);
    v->slot = slot;
    v->slots = want;
    v->used = 0;
    for (int64_t id = 0; id < v->n; id++) {
        if (vocab_has(v, id)) insert(v, (int32_t)id);
    }
    return 0;
}

int vocab_add(struct vocab *v, int64_t id, const char *text, int64_t n, uint32_t flags, struct err *err) {
    if (id < 0 || id >= VOCAB_MAX) {
        return err_set(err, "token id %lld: expected 0 ... %d", (long long)id, VOCAB_MAX - 1);
    }
    if (n > 1 << 24) return err_set(err, "token %lld is %lld bytes long", (long long)id, (long long)n);
    if (vocab_has(v, id)) return err_set(err, "two tokens have the id %lld", (long long)id);
    int32_t old = vocab_find(v, text, n);
    if (old >= 0) {
        return err_set(err, "token \"%.*s\" is there twice, with the ids %d and %lld", (int)(n < 60 ? n : 60), text,
                       old, (long long)id);
    }
    if (v->used * 2 >= v->slots && rehash(v, err) < 0) return -1;
    if (mem_grow(&v->token, &v->capacity, id + 1, sizeof *v->token, "vocabulary", err) < 0) return -1;
    if (mem_grow(&v->text, &v->text_capacity, v->text_n + n + 1, 1, "vocabulary", err) < 0) return -1;
    memcpy(v->text + v->text_n, text, (size_t)n);
    v->token[id] = (struct vocab_token){.at = v->text_n, .n1 = (int32_t)n + 1, .flags = flags};
    v->text_n += n;
    v->text[v->text_n++] = 0;
    if (id >= v->n) v->n = id + 1;
    insert(v, (int32_t)id);
    return 0;
}

int32_t vocab_find(const struct vocab *v, const char *text, int64_t n) {
    if (v->slots == 0) return -1;
    for (uint64_t i = hash_bytes(text, n);; i++) {
        int32_t id = v->slot[i & (uint64_t)(v->slots - 1)] - 1;
        if (id < 0) return -1;
        const struct vocab_token *t = &v->token[id];
        if (t->n1 == n + 1 && memcmp(v->text + t->at, text, (size_t)n) == 0) return id;
    }
}

void vocab_free(struct vocab *v) {
    mem_free(v->text);
    mem_free(v->token);
    mem_free(v->slot);
    *v = (struct vocab){0};
}
