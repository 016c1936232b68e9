/* bpe_train: byte-level BPE from text, written as a tokenizer.json.
 *
 * Count words, take each word as a row of bytes, then again and again merge the most frequent pair of neighbours in all
 * words. Pair counts are kept up to date: a merge visits only the words that hold the pair. The queue of pairs is lazy:
 * an entry whose count has fallen is put back with the new count when it comes up. */
#include <string.h>
#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/progress.h"
#include "text/added.h"
#include "text/bpe_count.h"
#include "text/pretoken.h"
#include "text/bpe_train.h"
#include "text/utf8.h"
#include "text/vocab.h"

struct word { /* the symbols of one word: symbol[at .. at + n) */
    int64_t at, count;
    int32_t n;
};
struct pair {
    uint64_t key; /* left << 32 | right, plus 1; 0: empty */
    int64_t count;
    int32_t words; /* first node of the list of words it was seen in, -1: none */
    int32_t round; /* when it was last put on the list of grown pairs */
};
struct node { /* a piece of such a list */
    int32_t word[6];
    int32_t n, next;
};
struct queued {
    int64_t count;
    uint64_t key;
};
struct merge {
    int32_t left, right;
};

struct bpe_trainer {
    struct vocab vocab;
    int32_t *symbol;
    struct word *row;
    int64_t rows;
    struct pair *pair; /* open addressing */
    int64_t pairs, pairs_used;
    struct node *node;
    int64_t nodes, node_capacity;
    int32_t free_node;
    struct queued *heap;
    int64_t heap_n, heap_capacity;
    uint64_t *grown; /* pairs whose count grew in this round */
    int64_t grown_n, grown_capacity;
    struct merge *merge;
    int64_t merges, merge_capacity;
};

static void trainer_free(struct bpe_trainer *t) {
    vocab_free(&t->vocab);
    mem_free(t->symbol);
    mem_free(t->row);
    mem_free(t->pair);
    mem_free(t->node);
    mem_free(t->heap);
    mem_free(t->grown);
    mem_free(t->merge);
}

static uint64_t pair_key(int32_t left, int32_t right) {
    return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
}

static struct pair *pair_slot(const struct bpe_trainer *t, uint64_t key) {
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    for (h ^= h >> 32;; h++) {
        struct pair *p = &t->pair[h & (uint64_t)(t->pairs - 1)];
        if (p->key == key || p->key == 0) return p;
    }
}

static struct pair *pair_get(struct bpe_trainer *t, uint64_t key, struct err *err) {
    if (2 * t->pairs_used >= t->pairs) {
        struct pair *old = t->pair;
        int64_t n = t->pairs;
        struct pair *bigger = mem_alloc(n ? 2 * n : 1 << 14, sizeof *bigger, "pair counts", err);
        if (bigger == NULL) return NULL;
        t->pair = bigger;
        t->pairs = n ? 2 * n : 1 << 14;
        for (int64_t i = 0; i < n; i++) {
            if (old[i].key) *pair_slot(t, old[i].key) = old[i];
        }
        mem_free(old);
    }
    struct pair *p = pair_slot(t, key);
    if (p->key == 0) {
        *p = (struct pair){.key = key, .words = -1, .round = -1};
        t->pairs_used++;
    }
    return p;
}

/* Note that word holds the pair. */
static int pair_note(struct bpe_trainer *t, struct pair *p, int32_t word, struct err *err) {
    struct node *head = p->words >= 0 ? &t->node[p->words] : NULL;
    if (head && head->word[head->n - 1] == word) return 0;
    if (head == NULL || head->n == (int32_t)(sizeof head->word / sizeof *head->word)) {
        int32_t fresh = t->free_node;
        if (fresh >= 0) {
            t->free_node = t->node[fresh].next;
        } else {
            if (t->nodes == INT32_MAX) return err_set(err, "too much text: more than %d lists of words", INT32_MAX);
            if (mem_grow(&t->node, &t->node_capacity, t->nodes + 1, sizeof *t->node, "pair places", err) < 0) return -1;
            fresh = (int32_t)t->nodes++;
        }
        t->node[fresh] = (struct node){.next = p->words};
        p->words = fresh;
        head = &t->node[fresh];
    }
    head->word[head->n++] = word;
    return 0;
}

static bool before(const struct queued *a, const struct queued *b) {
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static int heap_push(struct bpe_trainer *t, struct queued c, struct err *err) {
    if (mem_grow(&t->heap, &t->heap_capacity, t->heap_n + 1, sizeof *t->heap, "pair queue", err) < 0) return -1;
    int64_t i = t->heap_n++;
    for (int64_t up; i > 0 && before(&c, &t->heap[up = (i - 1) / 2]); i = up) t->heap[i] = t->heap[up];
    t->heap[i] = c;
    return 0;
}

static struct queued heap_pop(struct bpe_trainer *t) {
    struct queued top = t->heap[0], last = t->heap[--t->heap_n];
    int64_t i = 0, child;
    while ((child = 2 * i + 1) < t->heap_n) {
        if (child + 1 < t->heap_n && before(&t->heap[child + 1], &t->heap[child])) child++;
        if (!before(&t->heap[child], &last)) break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return top;
}

/* Special tokens first, then the 256 bytes in the order of their printable spelling. */
static int init_vocab(struct bpe_trainer *t, const struct bpe_train_settings *s, struct err *err) {
    for (const char *const *special = s->specials; special && *special; special++) {
        int64_t n = (int64_t)strlen(*special);
        int32_t cp;
        if (n == 0 || utf8_valid(*special, n) < n || utf8_get(*special, &cp) == n) {
            return err_set(err, "special token \"%.60s\": expected at least two characters of UTF-8", *special);
        }
        if (vocab_add(&t->vocab, t->vocab.n, *special, n, VOCAB_SPECIAL, err) < 0) return -1;
    }
    if (s->vocab_size < t->vocab.n + 256 || s->vocab_size > 1000000) {
        return err_set(err, "vocabulary of %lld: expected %lld (256 bytes and %lld special tokens) ... 1000000",
                       (long long)s->vocab_size, (long long)t->vocab.n + 256, (long long)t->vocab.n);
    }
    for (int32_t cp = 0; cp < 512; cp++) {
        char text[4];
        if (byte_level_byte(cp) < 0) continue;
        if (vocab_add(&t->vocab, t->vocab.n, text, utf8_put(text, cp), 0, err) < 0) return -1;
    }
    return 0;
}

static int init_rows(struct bpe_trainer *t, const struct word_counts *w, struct err *err) {
    int32_t byte_id[256];
    int64_t used = 0;
    for (int b = 0; b < 256; b++) {
        char text[4];
        byte_id[b] = vocab_find(&t->vocab, text, utf8_put(text, byte_level_char(b)));
    }
    t->symbol = mem_alloc(w->text_n, sizeof *t->symbol, "words", err);
    t->row = mem_alloc(w->n, sizeof *t->row, "words", err);
    if (t->symbol == NULL || t->row == NULL) return -1;
    t->rows = w->n;
    t->free_node = -1;
    for (int64_t i = 0; i < w->n; i++) {
        const struct word_count *c = &w->word[i];
        struct word *row = &t->row[i];
        *row = (struct word){.at = used, .count = c->count, .n = c->n};
        for (int32_t k = 0; k < c->n; k++) t->symbol[used++] = byte_id[(unsigned char)w->text[c->at + k]];
        for (int32_t k = 0; k + 1 < c->n; k++) {
            struct pair *p = pair_get(t, pair_key(t->symbol[row->at + k], t->symbol[row->at + k + 1]), err);
            if (p == NULL || pair_note(t, p, (int32_t)i, err) < 0) return -1;
            p->count += c->count;
        }
    }
    for (int64_t i = 0; i < t->pairs; i++) {
        const struct pair *p = &t->pair[i];
        if (p->key && heap_push(t, (struct queued){p->count, p->key}, err) < 0) return -1;
    }
    return 0;
}

static void fewer(struct bpe_trainer *t, int32_t left, int32_t right, int64_t count) {
    pair_slot(t, pair_key(left, right))->count -= count; /* it is there: its symbols were neighbours */
}

static int more(struct bpe_trainer *t, int32_t left, int32_t right, int64_t count, int32_t word, int32_t round,
                struct err *err) {
    struct pair *p = pair_get(t, pair_key(left, right), err);
    if (p == NULL || pair_note(t, p, word, err) < 0) return -1;
    p->count += count;
    if (p->round == round) return 0;
    p->round = round;
    if (mem_grow(&t->grown, &t->grown_capacity, t->grown_n + 1, sizeof *t->grown, "pair counts", err) < 0) return -1;
    t->grown[t->grown_n++] = p->key;
    return 0;
}

static int merge_in_word(struct bpe_trainer *t, int32_t word, struct merge m, int32_t made, int32_t round,
                         struct err *err) {
    struct word *row = &t->row[word];
    int32_t *s = t->symbol + row->at, n = row->n, out = 0;
    for (int32_t i = 0; i < n; out++) {
        if (i + 1 == n || s[i] != m.left || s[i + 1] != m.right) {
            s[out] = s[i++];
            continue;
        }
        if (out > 0) {
            fewer(t, s[out - 1], m.left, row->count);
            if (more(t, s[out - 1], made, row->count, word, round, err) < 0) return -1;
        }
        if (i + 2 < n) {
            fewer(t, m.right, s[i + 2], row->count);
            if (more(t, made, s[i + 2], row->count, word, round, err) < 0) return -1;
        }
        s[out] = made;
        i += 2;
    }
    row->n = out;
    return 0;
}

/* Merge a pair everywhere. */
static int merge_pair(struct bpe_trainer *t, uint64_t key, int32_t round, struct err *err) {
    struct merge m = {.left = (int32_t)((key - 1) >> 32), .right = (int32_t)((key - 1) & 0xFFFFFFFFu)};
    struct bytes text = {0};
    int64_t n;
    const char *left = vocab_text(&t->vocab, m.left, &n);
    int r = bytes_push(&text, left, n, err);
    const char *right = vocab_text(&t->vocab, m.right, &n);
    if (r == 0) r = bytes_push(&text, right, n, err);
    int32_t made = r == 0 ? vocab_find(&t->vocab, text.v, text.n) : -1;
    if (r == 0 && made < 0) {
        made = (int32_t)t->vocab.n;
        r = vocab_add(&t->vocab, made, text.v, text.n, 0, err);
    }
    bytes_free(&text);
    if (r < 0 || mem_grow(&t->merge, &t->merge_capacity, t->merges + 1, sizeof *t->merge, "merges", err) < 0) return -1;
    t->merge[t->merges++] = m;
    struct pair *p = pair_slot(t, key);
    int32_t node = p->words;
    p->words = -1;
    t->grown_n = 0;
    while (node >= 0) {
        for (int32_t k = t->node[node].n - 1; k >= 0; k--) {
            if (merge_in_word(t, t->node[node].word[k], m, made, round, err) < 0) return -1;
        }
        int32_t done = node;
        node = t->node[node].next;
        t->node[done].next = t->free_node;
        t->free_node = done;
    }
    pair_slot(t, key)->count = 0;
    for (int64_t i = 0; i < t->grown_n; i++) {
        p = pair_slot(t, t->grown[i]);
        if (p->count > 0 && heap_push(t, (struct queued){p->count, p->key}, err) < 0) return -1;
    }
    return 0;
}

static int merge_all(struct bpe_trainer *t, const struct bpe_train_settings *s, struct err *err) {
    int64_t least = s->min_count > 0 ? s->min_count : 1;
    struct progress bar;
    int r = 0;
    progress_start(&bar, "merges", "tokens", (double)s->vocab_size, 1);
    while (t->vocab.n < s->vocab_size && t->heap_n > 0 && r == 0) {
        struct queued c = heap_pop(t);
        int64_t count = pair_slot(t, c.key)->count;
        if (count < least) continue;
        if (count != c.count) {
            r = heap_push(t, (struct queued){count, c.key}, err);
            continue;
        }
        r = merge_pair(t, c.key, (int32_t)t->merges, err);
        progress_at(&bar, (double)t->vocab.n, NULL);
    }
    progress_end(&bar, (double)t->vocab.n, NULL);
    return r;
}

static json_t *text_of(const struct bpe_trainer *t, int64_t id) {
    int64_t n;
    const char *text = vocab_text(&t->vocab, id, &n);
    return json_stringn(text, (size_t)n);
}

static int write_json(const struct bpe_trainer *t, const char *path, struct err *err) {
    json_t *added = json_array(), *vocab = json_object(), *merges = json_array();
    struct bytes line = {0};
    int r = added && vocab && merges ? 0 : -1;
    for (int64_t id = 0; id < t->vocab.n && r == 0; id++) {
        int64_t n;
        const char *text = vocab_text(&t->vocab, id, &n);
        r = json_object_setn_new(vocab, text, (size_t)n, json_integer(id));
        if (r == 0 && (t->vocab.token[id].flags & VOCAB_SPECIAL)) {
            r = json_array_append_new(added, json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id,
                                                       "content", text_of(t, id), "single_word", 0, "lstrip", 0,
                                                       "rstrip", 0, "normalized", 0, "special", 1));
        }
    }
    for (int64_t i = 0; i < t->merges && r == 0; i++) {
        int64_t n;
        line.n = 0;
        const char *text = vocab_text(&t->vocab, t->merge[i].left, &n);
        r = bytes_push(&line, text, n, err) | bytes_push(&line, " ", 1, err);
        text = vocab_text(&t->vocab, t->merge[i].right, &n);
        if (r == 0) r = bytes_push(&line, text, n, err);
        if (r == 0) r = json_array_append_new(merges, json_stringn(line.v, (size_t)line.n));
    }
    bytes_free(&line);
    json_t *byte_level = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets",
                                   1, "use_regex", 1);
    json_t *all =
        json_pack("{s:s, s:n, s:n, s:o, s:n, s:O, s:n, s:o, s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}}",
                  "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer", "pre_tokenizer",
                  byte_level, "post_processor", "decoder", byte_level, "model", "type", "BPE", "dropout", "unk_token",
                  "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges",
                  0, "vocab", vocab, "merges", merges);
    if (r < 0 || all == NULL)
        r = err_set(err, "out of memory for the tokenizer file");
    else
        r = json_write_file(path, all, err);
    json_decref(all);
    return r;
}

int bpe_train(const char *out_path, const struct bpe_train_settings *s,
              int (*next)(void *ctx, const char **text, int64_t *n, struct err *err), void *ctx, struct err *err) {
    struct bpe_trainer t = {0};
    struct word_counts words = {0};
    struct pretoken pretoken = {0};
    struct added cut = {0};
    int r = init_vocab(&t, s, err);
    for (int64_t id = 0; id < t.vocab.n && r == 0; id++) {
        int64_t n;
        const char *text = vocab_text(&t.vocab, id, &n);
        struct added_token plain = {.id = (int32_t)id};
        if (t.vocab.token[id].flags & VOCAB_SPECIAL) r = added_push(&cut, text, n, &plain, err);
    }
    if (r == 0) r = added_done(&cut, err);
    if (r == 0) r = pretoken_gpt2(&pretoken, err);
    if (r == 0) r = count_words(&words, &pretoken, &cut, next, ctx, err);
    if (r == 0 && words.n == 0) r = err_set(err, "no text to train a tokenizer on");
    if (r == 0) r = init_rows(&t, &words, err);
    word_counts_free(&words);
    if (r == 0) r = merge_all(&t, s, err);
    if (r == 0) r = write_json(&t, out_path, err);
    added_free(&cut);
    pretoken_free(&pretoken);
    trainer_free(&t);
    return r;
}
