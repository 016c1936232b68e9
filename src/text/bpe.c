/* bpe: see the header. Short words: look at all pairs each time. Long ones: linked list and heap, O(n log n).
 * Positions fit in 31 bits: the tokenizer takes texts of at most 1 GiB. */
#include "text/bpe.h"
#include <stdbool.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"

enum { SHORT = 40 }; /* symbols; beyond, the heap is faster */

int bpe_init(struct bpe *b, int64_t pairs, struct err *err) {
    int64_t slots = 16;
    while (slots < pairs * 2) slots *= 2;
    b->slot = mem_alloc(slots, sizeof *b->slot, "merges", err);
    b->mask = (uint64_t)slots - 1;
    b->n = 0;
    return b->slot ? 0 : -1;
}

void bpe_free(struct bpe *b) {
    mem_free(b->slot);
    *b = (struct bpe){0};
}

static inline uint64_t pair_key(int32_t left, int32_t right) {
    return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
}

static inline uint64_t pair_hash(uint64_t key) {
    key *= 0x9E3779B97F4A7C15u;
    return key ^ key >> 32;
}

const struct bpe_pair *bpe_find(const struct bpe *b, int32_t left, int32_t right) {
    uint64_t key = pair_key(left, right);
    for (uint64_t i = pair_hash(key);; i++) {
        const struct bpe_pair *p = &b->slot[i & b->mask];
        if (p->key == key) return p;
        if (p->key == 0) return NULL;
    }
}

void bpe_add(struct bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id) {
    uint64_t key = pair_key(left, right), i = pair_hash(key);
    while (b->slot[i & b->mask].key != 0 && b->slot[i & b->mask].key != key) i++;
    struct bpe_pair *p = &b->slot[i & b->mask];
    if (p->key == 0) BUG_ON((uint64_t)++b->n > b->mask);
    *p = (struct bpe_pair){.key = key, .rank = rank, .id = id};
}

static int64_t merge_short(const struct bpe *b, int32_t *ids, int64_t n) {
    const struct bpe_pair none = {.rank = INT32_MAX}, *p;
    struct {
        int32_t rank, id;
    } next[SHORT]; /* of the pair that starts here */
    for (int64_t i = 0; i < n - 1; i++) {
        p = bpe_find(b, ids[i], ids[i + 1]);
        if (p == NULL) p = &none;
        next[i].rank = p->rank, next[i].id = p->id;
    }
    for (; n > 1; n--) {
        int64_t best = 0;
        for (int64_t i = 1; i < n - 1; i++) {
            if (next[i].rank < next[best].rank) best = i;
        }
        if (next[best].rank == INT32_MAX) break;
        ids[best] = next[best].id;
        memmove(ids + best + 1, ids + best + 2, (size_t)(n - best - 2) * sizeof *ids);
        if (best < n - 2) {
            memmove(next + best + 1, next + best + 2, (size_t)(n - best - 3) * sizeof *next);
            if ((p = bpe_find(b, ids[best], ids[best + 1])) == NULL) p = &none;
            next[best].rank = p->rank, next[best].id = p->id;
        }
        if (best > 0) {
            if ((p = bpe_find(b, ids[best - 1], ids[best])) == NULL) p = &none;
            next[best - 1].rank = p->rank, next[best - 1].id = p->id;
        }
    }
    return n;
}

struct candidate {
    uint64_t order; /* rank << 32 | position */
    int32_t left, right, id;
};
struct bpe_scratch {
    struct candidate *heap;
    int64_t heap_n, heap_capacity;
    int32_t *prev, *next;
    int64_t prev_capacity, next_capacity;
};

struct bpe_scratch *bpe_scratch_new(struct err *err) {
    return mem_alloc(1, sizeof(struct bpe_scratch), "merge buffers", err);
}

void bpe_scratch_free(struct bpe_scratch *s) {
    if (s == NULL) return;
    mem_free(s->heap);
    mem_free(s->prev);
    mem_free(s->next);
    mem_free(s);
}

static int heap_push(struct bpe_scratch *s, struct candidate c, struct err *err) {
    if (mem_grow(&s->heap, &s->heap_capacity, s->heap_n + 1, sizeof *s->heap, "merge buffers", err) < 0) return -1;
    int64_t i = s->heap_n++;
    for (int64_t up; i > 0 && s->heap[up = (i - 1) / 2].order > c.order; i = up) s->heap[i] = s->heap[up];
    s->heap[i] = c;
    return 0;
}

static struct candidate heap_pop(struct bpe_scratch *s) {
    struct candidate top = s->heap[0], last = s->heap[--s->heap_n];
    int64_t i = 0, child;
    while ((child = 2 * i + 1) < s->heap_n) {
        if (child + 1 < s->heap_n && s->heap[child + 1].order < s->heap[child].order) child++;
        if (s->heap[child].order >= last.order) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static int offer(const struct bpe *b, struct bpe_scratch *s, const int32_t *ids, int64_t at, int64_t next,
                 struct err *err) {
    const struct bpe_pair *p = bpe_find(b, ids[at], ids[next]);
    if (p == NULL) return 0;
    uint64_t order = (uint64_t)(uint32_t)p->rank << 32 | (uint64_t)at;
    return heap_push(s, (struct candidate){.order = order, .left = ids[at], .right = ids[next], .id = p->id}, err);
}

static int64_t merge_long(const struct bpe *b, struct bpe_scratch *s, int32_t *ids, int64_t n, struct err *err) {
    if (mem_grow(&s->prev, &s->prev_capacity, n, sizeof *s->prev, "merge buffers", err) < 0 ||
        mem_grow(&s->next, &s->next_capacity, n, sizeof *s->next, "merge buffers", err) < 0) {
        return -1;
    }
    s->heap_n = 0;
    for (int64_t i = 0; i < n; i++) {
        s->prev[i] = (int32_t)(i - 1);
        s->next[i] = (int32_t)(i + 1);
        if (i + 1 < n && offer(b, s, ids, i, i + 1, err) < 0) return -1;
    }
    while (s->heap_n > 0) {
        struct candidate c = heap_pop(s);
        int64_t at = (int64_t)(c.order & 0xFFFFFFFFu), right = s->next[at];
        if (right >= n || ids[at] != c.left || ids[right] != c.right) continue;
        int32_t after = s->next[right];
        ids[at] = c.id;
        ids[right] = -1; /* gone: no candidate names it */
        s->next[at] = after;
        if (after < n) {
            s->prev[after] = (int32_t)at;
            if (offer(b, s, ids, at, after, err) < 0) return -1;
        }
        if (s->prev[at] >= 0 && offer(b, s, ids, s->prev[at], at, err) < 0) return -1;
    }
    int64_t left = 0;
    for (int64_t i = 0; i < n; i = s->next[i]) ids[left++] = ids[i];
    return left;
}

int64_t bpe_merge(const struct bpe *b, struct bpe_scratch *s, int32_t *ids, int64_t n, struct err *err) {
    if (n <= 1) return n;
    return n <= SHORT ? merge_short(b, ids, n) : merge_long(b, s, ids, n, err);
}
