/* bpe_count: see the header. Documents are gathered into batches; a batch is cut into blocks that threads take one by
 * one, each thread counting into its own table; the tables are added up at the end. */
#include "text/bpe_count.h"
#include <omp.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "text/added.h"
#include "text/pretoken.h"
#include "text/utf8.h"
#include "text/vocab.h"

enum { BATCH = 8 << 20, BLOCK = 64 << 10 };

struct block {
    int64_t from, to;
};
struct documents {
    struct bytes text;
    struct block *block;
    int64_t n, capacity;
};
struct worker {
    struct word_counts counts;
    struct pretoken_scratch scratch;
    struct err err;
    int failed;
};

void word_counts_free(struct word_counts *w) {
    mem_free(w->text);
    mem_free(w->word);
    mem_free(w->slot);
    *w = (struct word_counts){0};
}

static uint64_t slot_of(const struct word_counts *w, const char *text, int64_t n) {
    uint64_t i = hash_bytes(text, n);
    for (;; i++) {
        int32_t k = w->slot[i & (uint64_t)(w->slots - 1)];
        if (k == 0) break;
        const struct word_count *c = &w->word[k - 1];
        if (c->n == n && memcmp(w->text + c->at, text, (size_t)n) == 0) break;
    }
    return i & (uint64_t)(w->slots - 1);
}

static int grow_slots(struct word_counts *w, struct err *err) {
    int64_t slots = w->slots ? 2 * w->slots : 1 << 12;
    int32_t *slot = mem_alloc(slots, sizeof *slot, "word counts", err);
    if (slot == NULL) return -1;
    mem_free(w->slot);
    w->slot = slot;
    w->slots = slots;
    for (int64_t i = 0; i < w->n; i++) slot[slot_of(w, w->text + w->word[i].at, w->word[i].n)] = (int32_t)i + 1;
    return 0;
}

int word_counts_add(struct word_counts *w, const char *text, int64_t n, int64_t count, struct err *err) {
    if (2 * w->n >= w->slots && grow_slots(w, err) < 0) return -1;
    uint64_t i = slot_of(w, text, n);
    if (w->slot[i] != 0) {
        w->word[w->slot[i] - 1].count += count;
        return 0;
    }
    if (w->n == INT32_MAX / 2) return err_set(err, "more than %d different words", INT32_MAX / 2);
    if (mem_grow(&w->word, &w->capacity, w->n + 1, sizeof *w->word, "word counts", err) < 0 ||
        mem_grow(&w->text, &w->text_capacity, w->text_n + n, 1, "words", err) < 0) {
        return -1;
    }
    memcpy(w->text + w->text_n, text, (size_t)n);
    w->word[w->n++] = (struct word_count){.at = w->text_n, .count = count, .n = (int32_t)n};
    w->text_n += n;
    w->slot[i] = (int32_t)w->n;
    return 0;
}

static int count_one(void *ctx, const char *text, int64_t n, struct err *err) {
    return n > WORD_MAX ? 0 : word_counts_add(ctx, text, n, 1, err);
}

/* Where a block that starts at `from` may end without changing how the text is cut into words: between a lone line
 * break and the line after it (GPT-2's expression looks at runs of white space only). */
static int64_t block_end(const char *text, int64_t from, int64_t to) {
    for (int64_t i = from + BLOCK; i < to - 1; i++) {
        unsigned char before = (unsigned char)text[i - 1], after = (unsigned char)text[i + 1];
        if (text[i] == '\n' && before > ' ' && before < 0x7F && after > ' ' && after < 0x7F) return i + 1;
    }
    return to;
}

static int add_document(struct documents *b, const struct added *cut, struct pattern_scratch *match, const char *text,
                        int64_t n, struct err *err) {
    int64_t base = b->text.n, from, to;
    int32_t id;
    int more;
    struct added_walk w;
    if (utf8_clean(&b->text, text, n, err) < 0) return -1;
    added_start(&w, b->text.v + base, b->text.n - base);
    while ((more = added_next(cut, match, &w, &from, &to, &id, err)) > 0) {
        while (id < 0 && from < to) {
            int64_t end = block_end(b->text.v + base, from, to);
            if (mem_grow(&b->block, &b->capacity, b->n + 1, sizeof *b->block, "training text", err) < 0) return -1;
            b->block[b->n++] = (struct block){base + from, base + end};
            from = end;
        }
    }
    return more;
}

static int count_batch(const struct documents *b, const struct pretoken *p, struct worker *workers, int threads,
                       struct err *err) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < b->n; i++) {
        struct worker *w = &workers[omp_get_thread_num()];
        const struct block *k = &b->block[i];
        if (!w->failed) {
            w->failed = pretoken_run(p, &w->scratch, b->text.v + k->from, k->to - k->from, true, count_one, &w->counts,
                                     &w->err);
        }
    }
    for (int t = 0; t < threads; t++) {
        if (workers[t].failed) return *err = workers[t].err, -1;
    }
    return 0;
}

int count_words(struct word_counts *out, const struct pretoken *p, const struct added *cut,
                int (*next)(void *ctx, const char **text, int64_t *n, struct err *err), void *ctx, struct err *err) {
    struct documents b = {0};
    int threads = omp_get_max_threads(), more = 1, r = -1, ready = 0;
    struct worker *workers = mem_alloc(threads, sizeof *workers, "training", err);
    if (workers == NULL) return -1;
    for (; ready < threads; ready++) {
        if (pretoken_scratch_init(&workers[ready].scratch, err) < 0) goto done;
    }
    while (more > 0) {
        b.text.n = b.n = 0;
        while (b.text.n < BATCH) {
            const char *text;
            int64_t n;
            if ((more = next(ctx, &text, &n, err)) <= 0) break;
            if (add_document(&b, cut, workers[0].scratch.match, text, n, err) < 0) goto done;
        }
        if (more < 0 || count_batch(&b, p, workers, threads, err) < 0) goto done;
    }
    for (int t = 0; t < threads; t++) {
        const struct word_counts *w = &workers[t].counts;
        for (int64_t i = 0; i < w->n; i++) {
            if (word_counts_add(out, w->text + w->word[i].at, w->word[i].n, w->word[i].count, err) < 0) goto done;
        }
    }
    r = 0;
done:
    for (int t = 0; t < ready; t++) {
        word_counts_free(&workers[t].counts);
        pretoken_scratch_free(&workers[t].scratch);
    }
    mem_free(workers);
    mem_free(b.block);
    bytes_free(&b.text);
    return r;
}
