/* added: see the header. Tokens are kept sorted; a position is tried by narrowing a range of them byte after byte. */
#include "text/added.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "text/pattern.h"
#include "text/utf8.h"

int added_push(struct added *a, const char *text, int64_t n, const struct added_token *flags, struct err *err) {
    if (mem_grow(&a->token, &a->capacity, a->n + 1, sizeof *a->token, "added tokens", err) < 0) return -1;
    struct added_token *t = &a->token[a->n];
    *t = *flags;
    t->text = mem_alloc(n + 1, 1, "added tokens", err);
    if (t->text == NULL) return -1;
    memcpy(t->text, text, (size_t)n);
    t->n = n;
    a->n++;
    return 0;
}

static int by_text(const void *x, const void *y) {
    const struct added_token *a = x, *b = y;
    int c = memcmp(a->text, b->text, (size_t)(a->n < b->n ? a->n : b->n));
    if (c != 0) return c;
    return a->n != b->n ? (a->n < b->n ? -1 : 1) : (a->id > b->id) - (a->id < b->id);
}

int added_done(struct added *a, struct err *err) {
    int64_t kept = 0;
    bool word = false;
    if (a->n > 0) qsort(a->token, (size_t)a->n, sizeof *a->token, by_text);
    a->only_start = -1;
    for (int64_t i = 0; i < a->n; i++) {
        struct added_token *t = &a->token[i], *last = kept ? &a->token[kept - 1] : NULL;
        if (last && last->n == t->n && memcmp(last->text, t->text, (size_t)t->n) == 0) {
            mem_free(t->text);
            continue;
        }
        unsigned char c = (unsigned char)t->text[0];
        a->only_start = kept == 0 || a->only_start == c ? c : -1;
        a->starts[c] = true;
        word = word || t->single_word;
        a->token[kept++] = *t;
    }
    a->n = kept;
    if (word) a->word = pattern_regex("\\A[\\w\\x{200C}\\x{200D}]", err);
    return word && a->word == NULL ? -1 : 0;
}

void added_free(struct added *a) {
    for (int64_t i = 0; i < a->n; i++) mem_free(a->token[i].text);
    mem_free(a->token);
    pattern_free(a->word);
    *a = (struct added){0};
}

/* The longest token that text[0..n) starts with, or NULL. */
static const struct added_token *longest(const struct added *a, const char *text, int64_t n) {
    int64_t low = 0, high = a->n;
    const struct added_token *best = NULL;
    for (int64_t k = 0; k < n && low < high; k++) {
        int c = (unsigned char)text[k];
        /* All of [low, high) agree with the text in their first k bytes and are longer than that. */
        int64_t from = low, to = high, mid;
        for (int64_t end = high; from < end;) {
            mid = from + (end - from) / 2;
            if ((unsigned char)a->token[mid].text[k] < c)
                from = mid + 1;
            else
                end = mid;
        }
        for (int64_t start = from; start < to;) {
            mid = start + (to - start) / 2;
            if ((unsigned char)a->token[mid].text[k] <= c)
                start = mid + 1;
            else
                to = mid;
        }
        low = from, high = to;
        if (low < high && a->token[low].n == k + 1) best = &a->token[low++];
    }
    return best;
}

static bool word_at(const struct added *a, struct pattern_scratch *s, const char *text, int64_t n, struct err *err) {
    int64_t from, to;
    struct pattern_walk w = {0};
    return n > 0 && pattern_next(a->word, s, text, n, &w, &from, &to, err) > 0;
}

static int64_t last_char(const char *text, int64_t n) {
    do n--;
    while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80);
    return n;
}

void added_start(struct added_walk *w, const char *text, int64_t n) {
    *w = (struct added_walk){.text = text, .n = n, .token = -1};
}

/* Find the next token at or after w->search and widen it by its flags; 1 or 0. */
static int find(const struct added *a, struct pattern_scratch *s, struct added_walk *w, struct err *err) {
    while (w->search < w->n && a->n > 0) {
        const char *p = w->text + w->search;
        if (a->only_start >= 0) {
            p = memchr(p, a->only_start, (size_t)(w->n - w->search));
            if (p == NULL) return 0;
        } else {
            const char *end = w->text + w->n;
            while (p < end && !a->starts[(unsigned char)*p]) p++;
            if (p == end) return 0;
        }
        int64_t at = p - w->text;
        const struct added_token *t = longest(a, p, w->n - at);
        w->search = at + (t ? t->n : 1);
        if (t == NULL) continue;
        int64_t end = at + t->n;
        if (t->single_word) {
            int64_t before = at > 0 ? last_char(w->text, at) : 0;
            if (word_at(a, s, w->text + before, at - before, err) || word_at(a, s, p + t->n, w->n - end, err)) continue;
        }
        int32_t cp;
        for (int64_t b; t->lstrip && at > w->done; at = b) {
            utf8_get(w->text + (b = last_char(w->text, at)), &cp);
            if (!utf8_is_space(cp)) break;
        }
        for (int len; t->rstrip && end < w->n; end += len) {
            len = utf8_get(w->text + end, &cp);
            if (!utf8_is_space(cp)) break;
        }
        w->token = t->id;
        w->token_at = at < w->done ? w->done : at;
        w->token_end = end;
        return 1;
    }
    return 0;
}

int added_next(const struct added *a, struct pattern_scratch *s, struct added_walk *w, int64_t *from, int64_t *to,
               int32_t *id, struct err *err) {
    if (w->token < 0 && w->done < w->n && find(a, s, w, err) == 0) w->token_at = w->n;
    *from = w->done;
    *id = -1;
    if (w->done < w->token_at && w->done < w->n) {
        *to = w->done = w->token_at;
        return 1;
    }
    if (w->token < 0) return 0;
    *id = w->token;
    *to = w->token_end;
    if (w->done < w->token_end) w->done = w->token_end;
    w->token = -1;
    return 1;
}
