/* sentencepiece: `tokenizer.model` is a protocol buffer. Both forms end in the merge table: two symbols whose joined text
 * is a piece merge into it, pieces with higher scores first.
 *
 * Fields read (name = number): ModelProto pieces = 1, trainer_spec = 2, normalizer_spec = 3, denormalizer_spec = 5;
 * piece text = 1, score = 2, type = 3; trainer model_type = 3, treat_whitespace_as_suffix = 24, byte_fallback = 35,
 * unk_surface = 44, bos_piece = 46, eos_piece = 47; normalizer charsmap = 2, add_dummy_prefix = 3,
 * remove_extra_whitespaces = 4, escape_whitespaces = 5. */
#include "text/sentencepiece.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "text/rules.h"
#include "text/utf8.h"

enum piece_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { PIECE_BYTES = 1024 }; /* longest piece that may be merged: SentencePiece itself makes at most 64 */

struct piece {
    const char *text;
    int64_t n;
    float score;
    int type;
};
struct pieces {
    struct piece *piece;
    int64_t n, capacity;
    int64_t model_type;
    bool byte_fallback;
    const char *bos, *eos, *unknown; /* not NUL-terminated */
    int64_t bos_n, eos_n, unknown_n;
    const unsigned char *map;
    int64_t map_n;
};

/* One protocol buffer field. */
struct protobuf_field {
    uint64_t number, value; /* value: varint, or the bits of a fixed one */
    const unsigned char *data;
    int64_t n; /* length-delimited; else -1 */
};
struct protobuf {
    const unsigned char *p, *end;
};

static int read_varint(struct protobuf *r, uint64_t *v) {
    *v = 0;
    for (int shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        unsigned char c = *r->p++;
        *v |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) return 0;
    }
    return -1;
}

/* 1 and a field, 0 at the end, -1 with err. */
static int read_field(struct protobuf *r, struct protobuf_field *f, const unsigned char *start, struct err *err) {
    uint64_t tag, n;
    if (r->p == r->end) return 0;
    long long at = r->p - start;
    if (read_varint(r, &tag) < 0 || tag >> 3 == 0) goto bad;
    *f = (struct protobuf_field){.number = tag >> 3, .n = -1};
    switch (tag & 7) {
    case 0:
        if (read_varint(r, &f->value) < 0) goto bad;
        return 1;
    case 1:
        n = 8;
        break;
    case 5:
        n = 4;
        break;
    case 2:
        if (read_varint(r, &n) < 0 || n > (uint64_t)(r->end - r->p)) goto bad;
        f->data = r->p;
        f->n = (int64_t)n;
        r->p += n;
        return 1;
    default:
        goto bad;
    }
    if (n > (uint64_t)(r->end - r->p)) goto bad;
    for (uint64_t i = 0; i < n; i++) f->value |= (uint64_t)r->p[i] << 8 * i;
    r->p += n;
    return 1;
bad:
    return err_set(err, "not a whole SentencePiece model: bad protocol buffer field at byte %lld", at);
}

static int read_piece(struct pieces *m, const struct protobuf_field *of, const unsigned char *start, struct err *err) {
    struct protobuf r = {of->data, of->data + of->n};
    struct piece p = {.text = "", .type = NORMAL};
    struct protobuf_field f;
    int more;
    while ((more = read_field(&r, &f, start, err)) > 0) {
        uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.n >= 0) p.text = (const char *)f.data, p.n = f.n;
        if (f.number == 2 && f.n < 0) memcpy(&p.score, &bits, sizeof bits);
        if (f.number == 3 && f.n < 0) p.type = f.value <= BYTE ? (int)f.value : 0;
    }
    if (more < 0) return -1;
    if (mem_grow(&m->piece, &m->capacity, m->n + 1, sizeof *m->piece, "pieces", err) < 0) return -1;
    m->piece[m->n++] = p;
    return 0;
}

static int read_trainer(struct pieces *m, struct sp_rules *rules, const struct protobuf_field *of,
                        const unsigned char *start, struct err *err) {
    struct protobuf r = {of->data, of->data + of->n};
    struct protobuf_field f;
    int more;
    while ((more = read_field(&r, &f, start, err)) > 0) {
        if (f.n < 0) {
            if (f.number == 3) m->model_type = (int64_t)f.value;
            if (f.number == 24) rules->as_suffix = f.value != 0;
            if (f.number == 35) m->byte_fallback = f.value != 0;
        } else {
            if (f.number == 44) m->unknown = (const char *)f.data, m->unknown_n = f.n;
            if (f.number == 46) m->bos = (const char *)f.data, m->bos_n = f.n;
            if (f.number == 47) m->eos = (const char *)f.data, m->eos_n = f.n;
        }
    }
    return more;
}

static int read_normalizer(struct pieces *m, struct sp_rules *rules, const struct protobuf_field *of,
                           const unsigned char *start, struct err *err) {
    struct protobuf r = {of->data, of->data + of->n};
    struct protobuf_field f;
    int more;
    while ((more = read_field(&r, &f, start, err)) > 0) {
        if (f.number == 2 && f.n >= 0) m->map = f.data, m->map_n = f.n;
        if (f.n >= 0) continue;
        if (f.number == 3) rules->add_prefix = f.value != 0;
        if (f.number == 4) rules->remove_extra = f.value != 0;
        if (f.number == 5) rules->escape = f.value != 0;
    }
    return more;
}

static int read_model(struct pieces *m, struct sp_rules *rules, const unsigned char *data, int64_t n, struct err *err) {
    struct protobuf r = {data, data + n};
    struct protobuf_field f;
    int more;
    while ((more = read_field(&r, &f, data, err)) > 0) {
        if (f.n < 0) continue;
        int failed = 0;
        if (f.number == 1) failed = read_piece(m, &f, data, err);
        if (f.number == 2) failed = read_trainer(m, rules, &f, data, err);
        if (f.number == 3) failed = read_normalizer(m, rules, &f, data, err);
        if (f.number == 5 && f.n > 0) {
            struct pieces other = {0};
            struct sp_rules ignored = {0};
            failed = read_normalizer(&other, &ignored, &f, data, err);
            if (failed == 0 && other.map_n > 0) failed = err_set(err, "denormalizer rules are not supported");
        }
        if (failed < 0) return -1;
    }
    return more;
}

static int add_piece(struct rules *rules, int64_t id, const struct piece *p, struct err *err) {
    static const uint32_t flags[] = {[NORMAL] = VOCAB_MODEL,
                                     [UNKNOWN] = VOCAB_UNKNOWN,
                                     [CONTROL] = VOCAB_SPECIAL,
                                     [USER_DEFINED] = VOCAB_MODEL,
                                     [BYTE] = VOCAB_BYTE};
    if (p->type == UNUSED || p->type < NORMAL)
        return err_set(err, "piece %lld: type %d is not supported", (long long)id, p->type);
    if (p->n == 0) return err_set(err, "piece %lld is empty", (long long)id);
    if (p->n > PIECE_BYTES) return err_set(err, "piece %lld is longer than %d bytes", (long long)id, PIECE_BYTES);
    if (utf8_valid(p->text, p->n) < p->n) return err_set(err, "piece %lld is not UTF-8", (long long)id);
    if (isnan(p->score)) return err_set(err, "piece %lld: its score is not a number", (long long)id);
    if (vocab_add(&rules->vocab, id, p->text, p->n, flags[p->type], err) < 0) return -1;
    if (p->type == UNKNOWN) {
        if (rules->unknown >= 0) return err_set(err, "two unknown pieces, %d and %lld", rules->unknown, (long long)id);
        rules->unknown = (int32_t)id;
    }
    if (p->type == BYTE) {
        int byte = decoder_byte_token(p->text, p->n);
        if (byte < 0) {
            return err_set(err, "piece %lld: expected a byte such as <0x0A>, found \"%.*s\"", (long long)id,
                           (int)(p->n < 60 ? p->n : 60), p->text);
        }
        rules->byte_id[byte] = (int32_t)id;
    }
    if (p->type == USER_DEFINED) {
        struct added_token plain = {.id = (int32_t)id};
        if (added_push(&rules->normal, p->text, p->n, &plain, err) < 0) return -1;
        return added_push(&rules->normalizer.sp.verbatim, p->text, p->n, &plain, err);
    }
    return 0;
}

/* The symbol with this text: a mergeable piece, or a character that gets an id of its own beyond the pieces; -1: none;
 * -2 with err. */
static int64_t symbol(struct rules *rules, const char *text, int64_t n, bool is_char, struct err *err) {
    int32_t id = vocab_find(&rules->vocab, text, n);
    if (id >= 0) return rules->vocab.token[id].flags & VOCAB_MODEL ? id : -1;
    if (!is_char) return -1;
    if (vocab_add(&rules->vocab, rules->vocab.n, text, n, VOCAB_MODEL, err) < 0) return -2;
    return rules->vocab.n - 1;
}

static int by_score(const void *x, const void *y) {
    float a = *(const float *)x, b = *(const float *)y;
    return (a < b) - (a > b);
}

struct piece_merge {
    int32_t left, right, rank, id;
};
struct piece_merges {
    struct piece_merge *v;
    int64_t n, capacity;
};

/* All ways to put piece `id` together from two symbols. */
static int add_merges(struct rules *rules, struct piece_merges *all, int32_t id, int32_t rank, struct err *err) {
    char text[PIECE_BYTES]; /* a copy: the vocabulary may grow */
    int64_t n;
    const char *own = vocab_text(&rules->vocab, id, &n);
    int32_t cp;
    memcpy(text, own, (size_t)n);
    int first = utf8_get(text, &cp);
    for (int64_t i = first, len; i < n; i += len) {
        len = utf8_get(text + i, &cp);
        int64_t left = symbol(rules, text, i, i == first, err);
        if (left < 0) {
            if (left == -2) return -1;
            continue;
        }
        int64_t right = symbol(rules, text + i, n - i, i + len == n, err);
        if (right == -2) return -1;
        if (right < 0) continue;
        if (mem_grow(&all->v, &all->capacity, all->n + 1, sizeof *all->v, "merges", err) < 0) return -1;
        all->v[all->n++] = (struct piece_merge){.left = (int32_t)left, .right = (int32_t)right, .rank = rank, .id = id};
    }
    return 0;
}

static int build_merges(struct rules *rules, const struct pieces *m, struct err *err) {
    struct piece_merges all = {0};
    int64_t scores = 0;
    int r = -1;
    float *score = mem_alloc(m->n, sizeof *score, "scores", err);
    if (score == NULL) return -1;
    for (int64_t i = 0; i < m->n; i++) score[i] = m->piece[i].score;
    qsort(score, (size_t)m->n, sizeof *score, by_score);
    for (int64_t i = 0; i < m->n; i++) {
        if (i == 0 || score[i] != score[i - 1]) score[scores++] = score[i];
    }
    for (int64_t i = 0; i < m->n; i++) {
        if (!(rules->vocab.token[i].flags & VOCAB_MODEL)) continue;
        const float *at = bsearch(&m->piece[i].score, score, (size_t)scores, sizeof *score, by_score);
        if (add_merges(rules, &all, (int32_t)i, (int32_t)(at - score), err) < 0) goto done;
    }
    if (bpe_init(&rules->bpe, all.n, err) < 0) goto done;
    for (int64_t i = 0; i < all.n; i++) bpe_add(&rules->bpe, all.v[i].left, all.v[i].right, all.v[i].rank, all.v[i].id);
    r = 0;
done:
    mem_free(score);
    mem_free(all.v);
    return r;
}

static int32_t control(const struct rules *rules, const char *text, int64_t n) {
    int32_t id = vocab_find(&rules->vocab, text, n);
    return id >= 0 && id < rules->size && (rules->vocab.token[id].flags & VOCAB_SPECIAL) ? id : -1;
}

static int build(struct rules *rules, const struct pieces *m, struct err *err) {
    if (m->n == 0) return err_set(err, "no pieces");
    if (m->n > VOCAB_MAX) return err_set(err, "%lld pieces: expected at most %d", (long long)m->n, VOCAB_MAX);
    for (int64_t i = 0; i < m->n; i++) {
        if (add_piece(rules, i, &m->piece[i], err) < 0) return -1;
    }
    rules->size = m->n;
    if (rules->unknown < 0) return err_set(err, "no unknown piece");
    if (utf8_valid(m->unknown, m->unknown_n) < m->unknown_n) return err_set(err, "unk_surface is not UTF-8");
    for (int b = 0; m->byte_fallback && b < 256; b++) {
        if (rules->byte_id[b] < 0) return err_set(err, "byte_fallback is set but the piece <0x%02X> is missing", b);
    }
    rules->byte_fallback = m->byte_fallback;
    rules->fuse_output = true;
    rules->bos = control(rules, m->bos, m->bos_n);
    rules->eos = control(rules, m->eos, m->eos_n);
    rules->normalizer.n = 1;
    rules->normalizer.step[0].kind = NORMAL_SENTENCEPIECE;
    if (m->map_n > 0 && sp_rules_map(&rules->normalizer.sp, m->map, m->map_n, err) < 0) return -1;
    struct decoder *d = &rules->decoder;
    d->n = 1;
    d->step[0].kind = DECODE_SENTENCEPIECE;
    d->step[0].start = rules->normalizer.sp.remove_extra;
    d->strip_first = rules->normalizer.sp.add_prefix || rules->normalizer.sp.remove_extra;
    d->unknown = mem_alloc(m->unknown_n + 1, 1, "tokenizer", err);
    if (d->unknown == NULL) return -1;
    memcpy(d->unknown, m->unknown, (size_t)m->unknown_n);
    if (added_done(&rules->normal, err) < 0 || added_done(&rules->normalizer.sp.verbatim, err) < 0) return -1;
    return build_merges(rules, m, err);
}

static struct pieces model_defaults(void) {
    static const char unknown[] = " \xE2\x81\x87 ";
    return (struct pieces){.model_type = 1,
                           .bos = "<s>",
                           .bos_n = 3,
                           .eos = "</s>",
                           .eos_n = 4,
                           .unknown = unknown,
                           .unknown_n = sizeof unknown - 1};
}

int sentencepiece_load(struct rules *rules, const unsigned char *data, int64_t n, struct err *err) {
    struct pieces m = model_defaults();
    rules->normalizer.sp = (struct sp_rules){.add_prefix = true, .remove_extra = true, .escape = true};
    int r = read_model(&m, &rules->normalizer.sp, data, n, err);
    if (r == 0 && m.model_type != 2) {
        static const char *const types[] = {"unigram", "BPE", "word", "char"};
        r = err_set(err, "SentencePiece model of type %s: only BPE is supported",
                    m.model_type >= 1 && m.model_type <= 4 ? types[m.model_type - 1] : "unknown");
    }
    if (r == 0) r = build(rules, &m, err);
    mem_free(m.piece);
    return r;
}

/* u32 longest piece, then per piece f32 score, u32 length, text; spaces stand for themselves, begin and end are
 * "\n<s>\n". */
int tokbin_load(struct rules *rules, const unsigned char *data, int64_t n, struct err *err) {
    struct pieces m = model_defaults();
    struct bytes text = {0};
    int r = -1;
    m.byte_fallback = true;
    rules->normalizer.sp = (struct sp_rules){.add_prefix = true, .escape = true};
    for (int64_t at = 4; at < n;) {
        struct piece p = {.type = NORMAL};
        uint32_t head[2];
        if (n - at < 8) {
            err_set(err, "tokenizer.bin ends inside piece %lld", (long long)m.n);
            goto done;
        }
        for (int k = 0; k < 2; k++) {
            const unsigned char *b = data + at + 4 * k;
            head[k] = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        }
        at += 8;
        if (head[1] > PIECE_BYTES || head[1] > n - at) {
            err_set(err, "piece %lld of tokenizer.bin: length %u does not fit", (long long)m.n, head[1]);
            goto done;
        }
        memcpy(&p.score, &head[0], sizeof p.score);
        p.text = (const char *)data + at;
        p.n = head[1];
        at += p.n;
        if (m.n == 0)
            p.type = UNKNOWN;
        else if (m.n <= 2)
            p.type = CONTROL, p.text = m.n == 1 ? m.bos : m.eos, p.n = m.n == 1 ? m.bos_n : m.eos_n;
        else if (m.n < 3 + 256)
            p.type = BYTE;
        if (mem_grow(&m.piece, &m.capacity, m.n + 1, sizeof *m.piece, "pieces", err) < 0) goto done;
        m.piece[m.n++] = p;
    }
    /* Spaces become U+2581 in one buffer, which never moves: three bytes for one at most. */
    if (mem_grow(&text.v, &text.capacity, 3 * n, 1, "pieces", err) < 0) goto done;
    for (int64_t i = 3 + 256; i < m.n; i++) {
        struct piece *p = &m.piece[i];
        int64_t from = text.n;
        for (int64_t k = 0; k < p->n; k++) {
            bool space = p->text[k] == ' ';
            if (bytes_push(&text, space ? "\xE2\x96\x81" : p->text + k, space ? 3 : 1, err) < 0) goto done;
        }
        p->text = text.v + from;
        p->n = text.n - from;
    }
    r = build(rules, &m, err);
done:
    mem_free(m.piece);
    bytes_free(&text);
    return r;
}
