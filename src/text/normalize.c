/* normalize: see the header. */
#include "text/normalize.h"
#include <string.h>
#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "text/pattern.h"
#include "text/utf8.h"

static int load_replace(struct normal_step *s, const json_t *v, struct err *err) {
    const json_t *pattern = json_object_get(v, "pattern"), *literal = json_object_get(pattern, "String");
    const char *regex = json_string_value(json_object_get(pattern, "Regex")), *content = NULL;
    if (json_get_str(v, "content", &content, true, "normalizer Replace", err) < 0) return -1;
    if (literal && json_string_length(literal) > 0) {
        s->pattern = pattern_literal(json_string_value(literal), (int64_t)json_string_length(literal), err);
    } else if (regex) {
        s->pattern = pattern_regex(regex, err);
    } else {
        return err_set(err, "normalizer Replace: expected \"pattern\" with a \"Regex\" or a non-empty \"String\"");
    }
    s->kind = NORMAL_REPLACE;
    s->text = mem_strdup(content, err);
    return s->pattern && s->text ? 0 : -1;
}

static int load(struct normalizer *z, const json_t *v, int depth, struct err *err) {
    const char *type = NULL, *prepend = NULL;
    if (json_get_str(v, "type", &type, true, "normalizer", err) < 0) return -1;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(v, "normalizers");
        if (!json_is_array(list) || depth > 4) return err_set(err, "normalizer Sequence: expected \"normalizers\"");
        for (size_t i = 0; i < json_array_size(list); i++) {
            if (load(z, json_array_get(list, i), depth + 1, err) < 0) return -1;
        }
        return 0;
    }
    if (z->n == NORMAL_STEPS) return err_set(err, "more than %d normalizers", NORMAL_STEPS);
    struct normal_step *s = &z->step[z->n++];
    if (strcmp(type, "Replace") == 0) return load_replace(s, v, err);
    if (strcmp(type, "NFC") == 0) return s->kind = NORMAL_NFC, 0;
    if (strcmp(type, "Prepend") == 0) {
        if (json_get_str(v, "prepend", &prepend, true, "normalizer Prepend", err) < 0) return -1;
        s->kind = NORMAL_PREPEND;
        s->text = mem_strdup(prepend, err);
        return s->text ? 0 : -1;
    }
    return err_set(err, "normalizer type \"%.40s\" is not supported (known: Prepend, Replace, NFC, Sequence)", type);
}

int normalize_load(struct normalizer *z, const json_t *v, struct err *err) {
    *z = (struct normalizer){0};
    if (v == NULL || json_is_null(v)) return 0;
    if (load(z, v, 0, err) == 0) return 0;
    normalize_free(z);
    return -1;
}

void normalize_free(struct normalizer *z) {
    for (int i = 0; i < z->n; i++) {
        mem_free(z->step[i].text);
        pattern_free(z->step[i].pattern);
    }
    mem_free(z->sp.trie);
    mem_free(z->sp.to);
    added_free(&z->sp.verbatim);
    *z = (struct normalizer){0};
}

int sp_rules_map(struct sp_rules *r, const unsigned char *data, int64_t n, struct err *err) {
    /* u32 bytes of the trie, the trie (u32 units, little-endian), the results; the last byte ends the last result. */
    int64_t bytes =
        n < 4
            ? -1
            : (int64_t)((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
    if (bytes < 4 || bytes % 4 != 0 || bytes > n - 5 || data[n - 1] != 0) {
        return err_set(err, "precompiled_charsmap of %lld bytes: its header does not fit", (long long)n);
    }
    r->trie_n = bytes / 4;
    r->to_n = n - 4 - bytes;
    r->trie = mem_alloc(r->trie_n, sizeof *r->trie, "character map", err);
    r->to = mem_alloc(r->to_n, 1, "character map", err);
    if (r->trie == NULL || r->to == NULL) return -1;
    for (int64_t i = 0; i < r->trie_n; i++) {
        const unsigned char *u = data + 4 + 4 * i;
        r->trie[i] = (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    memcpy(r->to, data + 4 + bytes, (size_t)r->to_n);
    return utf8_valid(r->to, r->to_n) == r->to_n ? 0 : err_set(err, "precompiled_charsmap: a result is not UTF-8");
}

/* Where the children of a trie unit start, relative to it (the layout of the darts-clone library). */
static uint32_t trie_offset(uint32_t unit) {
    return (unit >> 10) << ((unit & 0x200) >> 6);
}

static bool inside_character(char c) {
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Longest key that text starts with: its length (0: none) and its result. */
static int64_t map_prefix(const struct sp_rules *r, const char *text, int64_t n, const char **to) {
    int64_t best = 0;
    if (r->trie == NULL) return 0;
    uint64_t at = trie_offset(r->trie[0]);
    for (int64_t i = 0; i < n; i++) {
        uint32_t c = (unsigned char)text[i];
        at ^= c;
        if (at >= (uint64_t)r->trie_n || (r->trie[at] & 0x800000FFu) != c) break;
        uint32_t unit = r->trie[at];
        at ^= trie_offset(unit);
        /* A key ends where a character ends, and a result begins where one begins, whatever the file says. */
        if ((unit & 0x100) == 0 || (i + 1 < n && inside_character(text[i + 1]))) continue;
        if (at >= (uint64_t)r->trie_n || (r->trie[at] & 0x7FFFFFFF) >= (uint64_t)r->to_n) break;
        const char *result = r->to + (r->trie[at] & 0x7FFFFFFF);
        if (inside_character(*result)) break;
        *to = result;
        best = i + 1;
    }
    return best;
}

static const char meta[] = "\xE2\x96\x81"; /* U+2581, SentencePiece's visible space */

/* Append s with spaces escaped. */
static int push_escaped(const struct sp_rules *r, struct bytes *out, const char *s, int64_t n, struct err *err) {
    while (r->escape && n > 0) {
        const char *space = memchr(s, ' ', (size_t)n);
        int64_t k = space ? space - s : n;
        if (bytes_push(out, s, k, err) < 0 || (space && bytes_push(out, meta, 3, err) < 0)) return -1;
        if (space) k++;
        s += k, n -= k;
    }
    return bytes_push(out, s, n, err);
}

/* SentencePiece's character map and removal of extra spaces, one mapped character at a time. */
static int sp_map(const struct sp_rules *r, struct bytes *out, struct pattern_scratch *s, const char *text, int64_t n,
                  struct err *err) {
    bool after_space = r->remove_extra;
    struct added_walk w;
    int64_t from, to;
    int32_t id, cp;
    int more;
    added_start(&w, text, n);
    while ((more = added_next(&r->verbatim, s, &w, &from, &to, &id, err)) > 0) {
        while (from < to) {
            const char *piece = text + from;
            int64_t took = id >= 0 ? to - from : map_prefix(r, piece, to - from, &piece), len;
            if (took == 0)
                took = len = utf8_get(piece, &cp);
            else
                len = id >= 0 ? took : (int64_t)strlen(piece);
            from += took;
            while (after_space && len > 0 && *piece == ' ') piece++, len--;
            if (len == 0) continue;
            if (push_escaped(r, out, piece, len, err) < 0) return -1;
            after_space = r->remove_extra && piece[len - 1] == ' ';
        }
    }
    return more;
}

static int sp_run(const struct sp_rules *r, struct bytes *out, struct pattern_scratch *s, const char *text, int64_t n,
                  struct err *err) {
    const char *space = r->escape ? meta : " ";
    int64_t width = r->escape ? 3 : 1;
    bool prefix = r->add_prefix && !r->as_suffix;
    if (prefix && bytes_push(out, space, width, err) < 0) return -1;
    int64_t start = out->n;
    if (r->trie == NULL && !r->remove_extra) {
        if (push_escaped(r, out, text, n, err) < 0) return -1;
    } else if (sp_map(r, out, s, text, n, err) < 0) {
        return -1;
    }
    bool grown = out->n > start;
    while (r->remove_extra && out->n - start >= width && memcmp(out->v + out->n - width, space, (size_t)width) == 0) {
        out->v[out->n -= width] = 0;
    }
    if (!grown || (r->remove_extra && out->n == start && !r->as_suffix)) return out->n = 0; /* nothing but spaces */
    return r->add_prefix && r->as_suffix ? bytes_push(out, space, width, err) : 0;
}

static int replace(const struct normal_step *step, struct bytes *out, struct pattern_scratch *s, const char *text,
                   int64_t n, struct err *err) {
    struct pattern_walk w = {0};
    int64_t done = 0, start, end, len = (int64_t)strlen(step->text);
    int found;
    while ((found = pattern_next(step->pattern, s, text, n, &w, &start, &end, err)) > 0) {
        if (bytes_push(out, text + done, start - done, err) < 0 || bytes_push(out, step->text, len, err) < 0) return -1;
        done = end;
    }
    return found < 0 ? -1 : bytes_push(out, text + done, n - done, err);
}

int normalize_run(const struct normalizer *z, struct bytes buffer[2], struct pattern_scratch *s, const char *text,
                  int64_t n, const char **out, int64_t *out_n, struct err *err) {
    for (int i = 0; i < z->n && n > 0; i++) {
        const struct normal_step *step = &z->step[i];
        struct bytes *b = &buffer[i % 2];
        int r = -1;
        b->n = 0;
        switch (step->kind) {
        case NORMAL_PREPEND:
            r = bytes_push(b, step->text, (int64_t)strlen(step->text), err);
            if (r == 0) r = bytes_push(b, text, n, err);
            break;
        case NORMAL_REPLACE:
            r = replace(step, b, s, text, n, err);
            break;
        case NORMAL_NFC:
            r = nfc_push(b, text, n, err);
            break;
        case NORMAL_SENTENCEPIECE:
            r = sp_run(&z->sp, b, s, text, n, err);
            break;
        }
        if (r < 0) return -1;
        text = b->v, n = b->n;
    }
    *out = text;
    *out_n = n;
    return 0;
}
