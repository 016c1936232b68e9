/* decode: see the header. The result is always well-formed UTF-8, as from the files' own libraries. */
#include "text/decode.h"
#include <string.h>
#include "base/err.h"
#include "text/rules.h"
#include "text/utf8.h"

/* A run of SentencePiece byte pieces: characters where they form one, U+FFFD for each byte that does not. */
static int flush_pieces(struct bytes *run, struct bytes *out, struct err *err) {
    for (int64_t i = 0; i < run->n;) {
        int32_t cp;
        int len = utf8_next(run->v + i, run->n - i, &cp);
        const char *s = cp >= 0 ? run->v + i : "\xEF\xBF\xBD";
        if (bytes_push(out, s, cp >= 0 ? len : 3, err) < 0) return -1;
        i += cp >= 0 ? len : 1;
    }
    run->n = 0;
    return 0;
}

static int sentencepiece(const struct rules *rules, const int32_t *ids, int64_t n, bool keep_special, struct bytes *out,
                         struct err *err) {
    struct bytes run = {0};
    int64_t start = out->n;
    bool at_start = true, stripped = false; /* the prefix space is dropped from the pieces before any text */
    int r = 0;
    for (int64_t i = 0; i < n && r == 0; i++) {
        int64_t len;
        const char *s = vocab_text(&rules->vocab, ids[i], &len);
        uint32_t flags = rules->vocab.token[ids[i]].flags;
        char c = (char)decoder_byte_token(s, len);
        if (flags & VOCAB_BYTE) {
            r = bytes_push(&run, &c, 1, err);
            continue;
        }
        r = flush_pieces(&run, out, err);
        if (r < 0) break;
        if (stripped || out->n > start) at_start = false;
        stripped = false;
        if (flags & VOCAB_UNKNOWN) {
            r = bytes_push(out, rules->decoder.unknown, (int64_t)strlen(rules->decoder.unknown), err);
        } else if (flags & VOCAB_SPECIAL) {
            if (keep_special) r = bytes_push(out, s, len, err);
        } else {
            if (at_start && rules->decoder.strip_first && len >= 3 && memcmp(s, "\xE2\x96\x81", 3) == 0) {
                s += 3, len -= 3;
                stripped = rules->decoder.step[0].start == 0;
            }
            r = bytes_push_replaced(out, s, len, "\xE2\x96\x81", " ", err);
        }
    }
    if (r == 0) r = flush_pieces(&run, out, err);
    bytes_free(&run);
    return r;
}

/* What a token reads as before the decoder's steps. */
static const char *token_text(const struct rules *rules, int32_t id, int64_t *n) {
    for (int64_t i = 0; (rules->vocab.token[id].flags & VOCAB_REWRITTEN) && i < rules->normal.n; i++) {
        if (rules->normal.token[i].id == id) return *n = rules->normal.token[i].n, rules->normal.token[i].text;
    }
    return vocab_text(&rules->vocab, id, n);
}

static int collect(const struct rules *rules, const int32_t *ids, int64_t n, bool keep_special, struct strings *s,
                   struct err *err) {
    for (int64_t i = 0; i < n; i++) {
        if (!keep_special && (rules->vocab.token[ids[i]].flags & VOCAB_SPECIAL)) continue;
        int64_t len;
        const char *text = token_text(rules, ids[i], &len);
        if (rules->decoder.spaced && s->n > 0 && bytes_push(&s->text, " ", 1, err) < 0) return -1;
        if (bytes_push(&s->text, text, len, err) < 0 || strings_end(s, err) < 0) return -1;
    }
    return 0;
}

int decode(const struct rules *rules, const int32_t *ids, int64_t n, bool keep_special, struct bytes *out,
           struct err *err) {
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < rules->size && vocab_has(&rules->vocab, ids[i])) continue;
        return err_set(err, "token id %d (number %lld of %lld) is not in the vocabulary (0 ... %lld)", ids[i],
                       (long long)i + 1, (long long)n, (long long)rules->size - 1);
    }
    const struct decoder *d = &rules->decoder;
    int64_t before = out->n;
    int r = bytes_push(out, "", 0, err);
    if (r == 0 && d->n > 0 && d->step[0].kind == DECODE_SENTENCEPIECE) {
        r = sentencepiece(rules, ids, n, keep_special, out, err);
    } else if (r == 0) {
        struct strings texts = {0};
        r = collect(rules, ids, n, keep_special, &texts, err);
        if (r == 0) r = decoder_run(d, &texts, out, err);
        strings_free(&texts);
    }
    if (r < 0) out->n = before;
    return r;
}
