/* prompt: the rules by which texts become questions to a model. Which tokenizer is behind them it does not ask. */
#include "text/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "text/utf8.h"

int prompt_encode(const struct tokenizer *t, const char *text, int64_t n, struct ids *out, struct err *err) {
    const int32_t bos = tokenizer_bos(t);
    if (bos >= 0 && bos != tokenizer_eos(t) && ids_push(out, bos, err) < 0) return -1;
    return tokenizer_encode(t, text, n, out, err);
}

/* Bytes of white space, as Python's str.rstrip() sees it, at the end of s[n]. */
static int64_t trailing_space(const char *s, int64_t n) {
    int64_t end = 0; /* of the last other character */
    for (int64_t i = 0; i < n;) {
        int32_t c;
        i += utf8_next(s + i, n - i, &c);
        if (!utf8_is_space(c) && !(c >= 0x1c && c <= 0x1f)) end = i;
    }
    return n - end;
}

static int encode_text(const struct tokenizer *t, bool begin, const char *text, int64_t n, struct ids *out,
                       struct err *err) {
    return begin ? prompt_encode(t, text, n, out, err) : tokenizer_encode(t, text, n, out, err);
}

int64_t prompt_mark(const struct tokenizer *t, const char *text, int32_t *id, struct err *err) {
    const int64_t all = (int64_t)strlen(text), n = all - trailing_space(text, all);
    struct ids ids = {0};
    const int status = tokenizer_encode(t, text, n, &ids, err);
    *id = status == 0 && ids.n == 1 ? ids.v[0] : -1;
    ids_free(&ids);
    return status < 0 ? -1 : n;
}

/* Ids of text[n] beyond those of its first `known` bytes. */
static int encode_beyond(const struct tokenizer *t, bool begin, const char *text, int64_t n, int64_t known,
                         struct ids *prefix, struct ids *beyond, struct err *err) {
    struct ids whole = {0};
    const int64_t before = prefix->n;
    int status = encode_text(t, begin, text, known, prefix, err);
    if (status == 0) status = encode_text(t, begin, text, n, &whole, err);
    for (int64_t i = prefix->n - before; status == 0 && i < whole.n; i++) status = ids_push(beyond, whole.v[i], err);
    ids_free(&whole);
    return status;
}

int prompt_pair(const struct tokenizer *t, bool begin, const char *context, const char *continuation,
                struct ids *prefix, struct ids *target, struct err *err) {
    struct bytes text = {0};
    const int64_t n = (int64_t)strlen(context), known = n - trailing_space(context, n), before = prefix->n;
    const int32_t before_all = !begin && tokenizer_bos(t) >= 0 ? tokenizer_bos(t) : tokenizer_eos(t);
    int status = bytes_push(&text, context, n, err);
    if (status == 0) status = bytes_push(&text, continuation, (int64_t)strlen(continuation), err);
    if (status == 0) status = encode_beyond(t, begin, text.v, text.n, known, prefix, target, err);
    bytes_free(&text);
    if (status == 0 && prefix->n == before && before_all >= 0) status = ids_push(prefix, before_all, err);
    return status;
}

/* 1: `in_front`, a text of one character or none, and the piece share no token, and `out` has the piece's ids. */
static int encode_behind(const struct tokenizer *t, const char *in_front, const char *piece, int64_t n, struct ids *out,
                         struct err *err) {
    struct bytes text = {0};
    struct ids before = {0}, both = {0};
    const int64_t known = (int64_t)strlen(in_front);
    int status = bytes_push(&text, in_front, known, err);
    if (status == 0) status = bytes_push(&text, piece, n, err);
    if (status == 0) status = tokenizer_encode(t, text.v, known, &before, err);
    if (status == 0) status = tokenizer_encode(t, text.v, text.n, &both, err);
    const bool apart = status == 0 && both.n >= before.n &&
                       (!before.n || !memcmp(both.v, before.v, (size_t)before.n * sizeof *before.v));
    for (int64_t i = before.n; apart && status == 0 && i < both.n; i++) status = ids_push(out, both.v[i], err);
    bytes_free(&text);
    ids_free(&before);
    ids_free(&both);
    return status < 0 ? -1 : apart;
}

/* A piece that stands behind a gap: its ids behind some character, which keeps SentencePiece from adding a space of its
 * own. A line break is joined with white space that follows (GPT-2), a letter with letters; the last is the piece alone. */
static int encode_piece(const struct tokenizer *t, const char *piece, int64_t n, struct ids *out, struct err *err) {
    static const char *const in_front[] = {"\n", "a", ".", ""};
    int apart = 0;
    for (size_t i = 0; apart == 0 && i < sizeof in_front / sizeof *in_front; i++)
        apart = encode_behind(t, in_front[i], piece, n, out, err);
    return apart < 0 ? -1 : 0;
}

/* The next "[[n]]" at or behind s: its place, n, and the text behind it. 0: there is none; -1: what begins like a gap is
 * none. */
static int find_gap(const char **s, long *n, const char **rest, struct err *err) {
    enum { LONGEST = 1000000, SHOWN = 24 };
    char *end = NULL;
    *s = strstr(*s, "[[");
    if (!*s) return 0;
    const bool number = (*s)[2] >= '0' && (*s)[2] <= '9';
    *n = number ? strtol(*s + 2, &end, 10) : 0;
    if (*n < 1 || *n > LONGEST || strncmp(end, "]]", 2) != 0)
        return err_set(err, "a gap is written [[n]], with n tokens from 1 to %d; found '%.*s'", LONGEST, SHOWN, *s);
    *rest = end + 2;
    return 1;
}

int prompt_gaps(const struct tokenizer *t, const char *text, int32_t mask, struct ids *out, struct err *err) {
    const char *at = text, *gap = text, *rest = text;
    long n;
    int found;
    while ((found = find_gap(&gap, &n, &rest, err)) > 0) {
        int64_t piece = gap - at;
        if (piece > 0 && at[piece - 1] == ' ') piece--;
        if (at == text ? prompt_encode(t, at, piece, out, err) < 0 : encode_piece(t, at, piece, out, err) < 0)
            return -1;
        for (long i = 0; i < n; i++)
            if (ids_push(out, mask, err) < 0) return -1;
        at = gap = rest;
    }
    if (found < 0) return -1;
    if (at == text) return err_set(err, "the text has no gap: write [[n]] where n tokens are to be filled in");
    return encode_piece(t, at, (int64_t)strlen(at), out, err);
}
