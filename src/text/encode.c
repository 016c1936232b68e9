/* encode: text -> ids. The way of a text is in rules.h; here are its last part, words to ids, and the cache of recent
 * words, without which every "the" would be merged anew. */
#include "text/encode.h"
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "text/pattern.h"
#include "text/rules.h"
#include "text/utf8.h"

enum { JOINED_BITS = 1 << 19, CACHE_SLOTS = 1 << 15, CACHE_TEXT = 30, CACHE_IDS = 8 };
static const int64_t text_max = 1 << 30;

struct cached_word {       /* one cache line */
    uint8_t text_n, ids_n; /* text_n 0: empty */
    char text[CACHE_TEXT];
    int32_t ids[CACHE_IDS];
};
struct encode_scratch {
    struct encode_scratch *next;
    struct cached_word *cache;
    struct bpe_scratch *bpe;
    struct pretoken_scratch pretoken;
    struct bytes clean, buffer[2], spelled;
    int32_t *symbol;
    int64_t symbol_capacity;
};

static void scratch_free(struct encode_scratch *s) {
    while (s != NULL) {
        struct encode_scratch *next = s->next;
        mem_free(s->cache);
        bpe_scratch_free(s->bpe);
        pretoken_scratch_free(&s->pretoken);
        bytes_free(&s->clean);
        bytes_free(&s->buffer[0]);
        bytes_free(&s->buffer[1]);
        bytes_free(&s->spelled);
        mem_free(s->symbol);
        mem_free(s);
        s = next;
    }
}

static struct encode_scratch *scratch_new(struct err *err) {
    struct encode_scratch *s = mem_alloc(1, sizeof *s, "tokenizer buffers", err);
    if (s == NULL) return NULL;
    s->cache = mem_alloc(CACHE_SLOTS, sizeof *s->cache, "tokenizer cache", err);
    s->bpe = bpe_scratch_new(err);
    if (s->cache && s->bpe && pretoken_scratch_init(&s->pretoken, err) == 0) return s;
    scratch_free(s);
    return NULL;
}

/* The encoder is const for its users; the list of idle buffers is the one thing that changes, under the lock. */
static struct encode_scratch *scratch_take(const struct encoder *e, struct err *err) {
    struct encoder *mine = (struct encoder *)e;
    pthread_mutex_lock(&mine->lock);
    struct encode_scratch *s = mine->idle;
    if (s) mine->idle = s->next;
    pthread_mutex_unlock(&mine->lock);
    if (s == NULL) return scratch_new(err);
    s->next = NULL;
    return s;
}

static void scratch_put(const struct encoder *e, struct encode_scratch *s) {
    struct encoder *mine = (struct encoder *)e;
    pthread_mutex_lock(&mine->lock);
    s->next = mine->idle;
    mine->idle = s;
    pthread_mutex_unlock(&mine->lock);
}

static inline uint64_t joined_bit(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return h >> 45; /* 19 bits: JOINED_BITS */
}

/* Cutting needs every character to be a symbol on its own: no fusing or dropping of unknown ones before the merges, and no
 * token that only a whole word can be. */
static bool may_cut(const struct rules *rules) {
    bool all_bytes = true;
    for (int b = 0; b < 256; b++) all_bytes = all_bytes && rules->byte_id[b] >= 0;
    return !rules->pretoken.byte_level && !rules->ignore_merges &&
           (rules->fuse_output || (rules->byte_fallback && all_bytes));
}

int encoder_init(struct encoder *e, const struct rules *rules, struct err *err) {
    *e = (struct encoder){.rules = rules};
    for (int c = 0; c < 128; c++) e->ascii_id[c] = rules_symbol(rules, &(char){(char)c}, 1);
    if (may_cut(rules)) {
        e->joined = mem_alloc(JOINED_BITS / 64, sizeof *e->joined, "tokenizer", err);
        if (e->joined == NULL) return -1;
        for (int64_t id = 0; id < rules->vocab.n; id++) {
            if (!vocab_has(&rules->vocab, id) || !(rules->vocab.token[id].flags & VOCAB_MODEL)) continue;
            int64_t n;
            const char *text = vocab_text(&rules->vocab, id, &n);
            int32_t left = -1, right;
            for (int64_t i = 0; i < n; left = right) {
                i += utf8_get(text + i, &right);
                if (left >= 0) e->joined[joined_bit(left, right) / 64] |= 1ull << joined_bit(left, right) % 64;
            }
        }
    }
    pthread_mutex_init(&e->lock, NULL);
    return 0;
}

void encoder_free(struct encoder *e) {
    mem_free(e->joined);
    scratch_free(e->idle);
    pthread_mutex_destroy(&e->lock);
}

struct passage { /* a text on its way to ids */
    const struct encoder *encoder;
    const struct rules *rules;
    struct encode_scratch *s;
    struct ids *out;
    int64_t piece_start; /* in out: where the text between two added tokens began */
};

static int push_ids(struct passage *r, const int32_t *ids, int64_t n, struct err *err) {
    struct ids *out = r->out;
    if (r->rules->fuse_output) {
        /* Unknown tokens side by side become one. */
        for (int64_t i = 0; i < n; i++) {
            bool again =
                ids[i] == r->rules->unknown && out->n > r->piece_start && out->v[out->n - 1] == r->rules->unknown;
            if (!again && ids_push(out, ids[i], err) < 0) return -1;
        }
        return 0;
    }
    if (n == 0) return 0;
    if (out->n + n > out->capacity &&
        mem_grow(&out->v, &out->capacity, out->n + n, sizeof *out->v, "token ids", err) < 0) {
        return -1;
    }
    memcpy(out->v + out->n, ids, (size_t)n * sizeof *ids);
    out->n += n;
    return 0;
}

/* Symbols of a character that is not one itself: bytes if all are there, else unknown, else nothing. */
static int64_t fall_back(const struct rules *rules, const char *text, int len, int32_t *symbol, bool *unknown) {
    bool all = rules->byte_fallback;
    for (int k = 0; all && k < len; k++) all = rules->byte_id[(unsigned char)text[k]] >= 0;
    for (int k = 0; all && k < len; k++) symbol[k] = rules->byte_id[(unsigned char)text[k]];
    if (all) return len;
    int64_t n = 0;
    if (rules->unknown >= 0) {
        /* The unknown token is held back until the next known one, so that neighbours can fuse (tokenizers' order). */
        if (*unknown && !rules->fuse_symbols) symbol[n++] = rules->unknown;
        *unknown = true;
    }
    return n;
}

/* A word as symbols; at most one per byte. */
static int64_t symbols(const struct encoder *e, const char *text, int64_t n, int32_t *symbol) {
    const struct rules *rules = e->rules;
    int64_t count = 0;
    bool unknown = false;
    for (int64_t i = 0; i < n;) {
        int32_t id, cp;
        int len = 1;
        if (rules->pretoken.byte_level) {
            id = rules->byte_id[(unsigned char)text[i]];
        } else if ((unsigned char)text[i] < 128) {
            id = e->ascii_id[(int)text[i]];
        } else {
            len = utf8_get(text + i, &cp);
            id = rules_symbol(rules, text + i, len);
        }
        if (id < 0) {
            count += fall_back(rules, text + i, len, symbol + count, &unknown);
        } else {
            if (unknown) symbol[count++] = rules->unknown;
            unknown = false;
            symbol[count++] = id;
        }
        i += len;
    }
    if (unknown) symbol[count++] = rules->unknown;
    return count;
}

/* Replace what is left of characters that are no tokens. The array has room for one symbol per byte of the word. */
static int64_t expand(const struct rules *rules, int32_t *symbol, int64_t n, int64_t room) {
    int64_t odd = 0;
    for (int64_t i = 0; i < n; i++) odd += symbol[i] >= rules->size;
    if (odd == 0) return n;
    int32_t *from = symbol + room - n;
    memmove(from, symbol, (size_t)n * sizeof *symbol);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t id = from[i];
        if (id < rules->size) {
            symbol[count++] = id;
            continue;
        }
        int64_t len;
        const char *text = vocab_text(&rules->vocab, id, &len);
        bool unknown = false;
        count += fall_back(rules, text, (int)len, symbol + count, &unknown);
        if (unknown) symbol[count++] = rules->unknown;
    }
    return count;
}

/* Id of a word that is a token as a whole, or -1. */
static int32_t whole_word(struct passage *r, const char *text, int64_t n, struct err *err) {
    const struct rules *rules = r->rules;
    if (rules->pretoken.byte_level) {
        struct bytes *b = &r->s->spelled;
        b->n = 0;
        for (int64_t i = 0; i < n; i++) {
            char spelled[4];
            int len = utf8_put(spelled, byte_level_char((unsigned char)text[i]));
            if (bytes_push(b, spelled, len, err) < 0) return -1;
        }
        text = b->v, n = b->n;
    }
    return rules_symbol(rules, text, n);
}

static int encode_word(struct passage *r, const char *text, int64_t n, struct err *err) {
    struct encode_scratch *s = r->s;
    struct cached_word *c = NULL;
    if (n <= CACHE_TEXT) {
        c = &s->cache[hash_bytes(text, n) & (CACHE_SLOTS - 1)];
        if (c->text_n == n && memcmp(c->text, text, (size_t)n) == 0) return push_ids(r, c->ids, c->ids_n, err);
    }
    if (n > s->symbol_capacity &&
        mem_grow(&s->symbol, &s->symbol_capacity, n, sizeof *s->symbol, "tokenizer buffers", err) < 0) {
        return -1;
    }
    int32_t whole = r->rules->ignore_merges ? whole_word(r, text, n, err) : -1;
    int64_t count = 1;
    if (whole >= 0) {
        s->symbol[0] = whole;
    } else {
        count = bpe_merge(&r->rules->bpe, s->bpe, s->symbol, symbols(r->encoder, text, n, s->symbol), err);
        if (count < 0) return -1;
        count = expand(r->rules, s->symbol, count, n);
    }
    if (c && count <= CACHE_IDS) {
        c->text_n = (uint8_t)n;
        c->ids_n = (uint8_t)count;
        memcpy(c->text, text, (size_t)n);
        memcpy(c->ids, s->symbol, (size_t)count * sizeof *c->ids);
    }
    return push_ids(r, s->symbol, count, err);
}

/* One pre-token: cut it further where no merge can reach across. */
static int encode_piece(void *ctx, const char *text, int64_t n, struct err *err) {
    struct passage *r = ctx;
    const uint64_t *joined = r->encoder->joined;
    if (joined == NULL) return encode_word(r, text, n, err);
    int64_t start = 0, i = 0;
    for (int32_t left = 0, right; i < n; left = right) {
        int len = 1;
        right = (unsigned char)text[i];
        if (right >= 128) len = utf8_get(text + i, &right);
        /* Two ASCII characters are taken as joined: nearly all are. */
        if ((left | right) >= 128 && i > start) {
            uint64_t bit = joined_bit(left, right);
            if (!(joined[bit / 64] >> bit % 64 & 1)) {
                if (encode_word(r, text + start, i - start, err) < 0) return -1;
                start = i;
            }
        }
        i += len;
    }
    return encode_word(r, text + start, n - start, err);
}

/* Text between two raw added tokens. */
static int encode_stretch(struct passage *r, const char *text, int64_t n, bool first, struct err *err) {
    struct added_walk w;
    int64_t from, to;
    int32_t id;
    int more;
    struct pattern_scratch *match = r->s->pretoken.match;
    if (normalize_run(&r->rules->normalizer, r->s->buffer, match, text, n, &text, &n, err) < 0) return -1;
    added_start(&w, text, n);
    while ((more = added_next(&r->rules->normal, match, &w, &from, &to, &id, err)) > 0) {
        if (id >= 0) {
            if (ids_push(r->out, id, err) < 0) return -1;
            continue;
        }
        r->piece_start = r->out->n;
        if (pretoken_run(&r->rules->pretoken, &r->s->pretoken, text + from, to - from, first && from == 0, encode_piece,
                         r, err) < 0) {
            return -1;
        }
    }
    return more;
}

int encode(const struct encoder *e, const char *text, int64_t n, struct ids *out, struct err *err) {
    BUG_ON(n < 0);
    if (n > text_max) {
        return err_set(err, "text of %lld bytes: expected at most %lld; cut it into documents", (long long)n,
                       (long long)text_max);
    }
    struct passage r = {.encoder = e, .rules = e->rules, .s = scratch_take(e, err), .out = out};
    if (r.s == NULL) return -1;
    int64_t before = out->n, from, to;
    int32_t id;
    int more = -1;
    struct added_walk w;
    if (utf8_valid(text, n) < n) {
        r.s->clean.n = 0;
        if (utf8_clean(&r.s->clean, text, n, err) < 0) goto done;
        text = r.s->clean.v, n = r.s->clean.n;
    }
    added_start(&w, text, n);
    while ((more = added_next(&e->rules->raw, r.s->pretoken.match, &w, &from, &to, &id, err)) > 0) {
        int failed = id >= 0 ? ids_push(out, id, err) : encode_stretch(&r, text + from, to - from, from == 0, err);
        if (failed < 0) {
            more = -1;
            break;
        }
    }
done:
    scratch_put(e, r.s);
    if (more < 0) out->n = before;
    return more;
}
