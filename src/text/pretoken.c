/* pretoken: see the header. Every kind of the file format becomes the same step: an optional space replacement and
 * prefix, then cuts at the matches of a pattern. */
#include "text/pretoken.h"
#include <string.h>
#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "text/pattern.h"
#include "text/utf8.h"

static const struct {
    const char *name, *regex;
    enum pretoken_cut cut;
} fixed_kinds[] = {
    {"Whitespace", "\\w+|[^\\w\\s]+", CUT_REMOVED}, /* inverted: see load_fixed() */
    {"WhitespaceSplit", "\\s", CUT_REMOVED},
    {"Punctuation", "[\\p{P}!-/:-@\\[-`{-~]", CUT_ISOLATED},
    {"Digits", "\\p{N}", CUT_CONTIGUOUS},
};
static const char *const cut_names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};

static int load_cut(const json_t *v, enum pretoken_cut *cut, struct err *err) {
    const char *name = NULL;
    if (json_get_str(v, "behavior", &name, false, "pre_tokenizer", err) < 0) return -1;
    for (int i = 0; name && i < (int)(sizeof cut_names / sizeof *cut_names); i++) {
        if (strcmp(name, cut_names[i]) == 0) return *cut = (enum pretoken_cut)i, 0;
    }
    return name ? err_set(err, "pre_tokenizer: behavior \"%.40s\" is not known", name) : 0;
}

static int load_split(struct pretoken_step *s, const json_t *v, struct err *err) {
    const json_t *pattern = json_object_get(v, "pattern"), *literal = json_object_get(pattern, "String");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    if (literal && json_string_length(literal) > 0) {
        s->pattern = pattern_literal(json_string_value(literal), (int64_t)json_string_length(literal), err);
    } else if (regex) {
        s->pattern = pattern_regex(regex, err);
    } else {
        return err_set(err, "pre_tokenizer Split: expected \"pattern\" with a \"Regex\" or a non-empty \"String\"");
    }
    if (s->pattern == NULL) return -1;
    if (json_get_bool(v, "invert", &s->invert, false, "pre_tokenizer Split", err) < 0) return -1;
    return load_cut(v, &s->cut, err);
}

static int load_byte_level(struct pretoken *p, struct pretoken_step *s, const json_t *v, struct err *err) {
    bool prefix = true, regex = true;
    if (json_get_bool(v, "add_prefix_space", &prefix, false, "pre_tokenizer ByteLevel", err) < 0 ||
        json_get_bool(v, "use_regex", &regex, false, "pre_tokenizer ByteLevel", err) < 0) {
        return -1;
    }
    if (prefix) strcpy(s->space, " "), s->prefix = PREFIX_ALWAYS;
    if (regex && (s->pattern = pattern_regex(PRETOKEN_GPT2, err)) == NULL) return -1;
    p->byte_level = true;
    return 0;
}

static int load_metaspace(struct pretoken_step *s, const json_t *v, struct err *err) {
    const char *replacement = "\xE2\x96\x81", *scheme = NULL, *where = "pre_tokenizer Metaspace";
    bool prefix = true, split = true;
    int32_t cp;
    if (json_get_str(v, "replacement", &replacement, false, where, err) < 0 ||
        json_get_str(v, "prepend_scheme", &scheme, false, where, err) < 0 ||
        json_get_bool(v, "add_prefix_space", &prefix, false, where, err) < 0 ||
        json_get_bool(v, "split", &split, false, where, err) < 0) {
        return -1;
    }
    if (*replacement == 0 || utf8_get(replacement, &cp) != (int)strlen(replacement)) {
        return err_set(err, "%s: expected one character as \"replacement\"", where);
    }
    strcpy(s->space, replacement);
    s->prefix = prefix ? PREFIX_ALWAYS : PREFIX_NEVER;
    if (scheme) {
        if (strcmp(scheme, "always") == 0)
            s->prefix = PREFIX_ALWAYS;
        else if (strcmp(scheme, "never") == 0)
            s->prefix = PREFIX_NEVER;
        else if (strcmp(scheme, "first") == 0)
            s->prefix = PREFIX_FIRST;
        else
            return err_set(err, "%s: prepend_scheme \"%.40s\" is not known", where, scheme);
    }
    s->cut = CUT_WITH_NEXT;
    if (split) s->pattern = pattern_literal(replacement, (int64_t)strlen(replacement), err);
    return split && s->pattern == NULL ? -1 : 0;
}

/* Kinds whose pattern is part of their definition. */
static int load_fixed(struct pretoken_step *s, const char *type, const json_t *v, struct err *err) {
    for (int i = 0; i < (int)(sizeof fixed_kinds / sizeof *fixed_kinds); i++) {
        if (strcmp(type, fixed_kinds[i].name) != 0) continue;
        bool single = false;
        if (json_get_bool(v, "individual_digits", &single, false, "pre_tokenizer Digits", err) < 0) return -1;
        s->cut = single ? CUT_ISOLATED : fixed_kinds[i].cut;
        s->invert = strcmp(type, "Whitespace") == 0;
        if (strcmp(type, "Punctuation") == 0 && load_cut(v, &s->cut, err) < 0) return -1;
        s->pattern = pattern_regex(fixed_kinds[i].regex, err);
        return s->pattern ? 0 : -1;
    }
    return err_set(err,
                   "pre_tokenizer type \"%.40s\" is not supported (known: ByteLevel, Split, Digits, Whitespace, "
                   "WhitespaceSplit, Punctuation, CharDelimiterSplit, Metaspace, Sequence)",
                   type);
}

static int load(struct pretoken *p, const json_t *v, int depth, struct err *err) {
    const char *type = NULL, *delimiter = NULL;
    if (json_get_str(v, "type", &type, true, "pre_tokenizer", err) < 0) return -1;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(v, "pretokenizers");
        if (!json_is_array(list) || depth > 4)
            return err_set(err, "pre_tokenizer Sequence: expected \"pretokenizers\"");
        for (size_t i = 0; i < json_array_size(list); i++) {
            if (load(p, json_array_get(list, i), depth + 1, err) < 0) return -1;
        }
        return 0;
    }
    if (p->byte_level) return err_set(err, "pre_tokenizer %.40s after ByteLevel is not supported", type);
    if (p->n == PRETOKEN_STEPS) return err_set(err, "more than %d pre_tokenizers", PRETOKEN_STEPS);
    struct pretoken_step *s = &p->step[p->n++];
    if (strcmp(type, "ByteLevel") == 0) return load_byte_level(p, s, v, err);
    if (strcmp(type, "Split") == 0) return load_split(s, v, err);
    if (strcmp(type, "Metaspace") == 0) return load_metaspace(s, v, err);
    if (strcmp(type, "CharDelimiterSplit") != 0) return load_fixed(s, type, v, err);
    if (json_get_str(v, "delimiter", &delimiter, true, "pre_tokenizer CharDelimiterSplit", err) < 0) return -1;
    if (*delimiter == 0) return err_set(err, "pre_tokenizer CharDelimiterSplit: empty delimiter");
    s->cut = CUT_REMOVED;
    s->pattern = pattern_literal(delimiter, (int64_t)strlen(delimiter), err);
    return s->pattern ? 0 : -1;
}

int pretoken_load(struct pretoken *p, const json_t *v, struct err *err) {
    *p = (struct pretoken){0};
    if (v == NULL || json_is_null(v)) return 0;
    if (load(p, v, 0, err) == 0) return 0;
    pretoken_free(p);
    return -1;
}

int pretoken_gpt2(struct pretoken *p, struct err *err) {
    *p = (struct pretoken){.n = 1, .byte_level = true};
    p->step[0].pattern = pattern_regex(PRETOKEN_GPT2, err);
    return p->step[0].pattern ? 0 : -1;
}

void pretoken_free(struct pretoken *p) {
    for (int i = 0; i < p->n; i++) pattern_free(p->step[i].pattern);
    *p = (struct pretoken){0};
}

int pretoken_scratch_init(struct pretoken_scratch *s, struct err *err) {
    *s = (struct pretoken_scratch){.match = pattern_scratch_new(err)};
    return s->match ? 0 : -1;
}

void pretoken_scratch_free(struct pretoken_scratch *s) {
    for (int i = 0; i < PRETOKEN_STEPS; i++) bytes_free(&s->text[i]);
    pattern_scratch_free(s->match);
    *s = (struct pretoken_scratch){0};
}

struct cutting {
    const struct pretoken *p;
    struct pretoken_scratch *s;
    pretoken_emit *emit;
    void *ctx;
    struct err *err;
};
static int run_step(struct cutting *r, int i, const char *text, int64_t n, bool first);

/* A piece held back until it is known whether the next one joins it. */
struct held {
    int64_t from, to;
    bool any, match;
};

static int give(struct cutting *r, int i, const char *text, int64_t from, int64_t to, bool first) {
    return to > from ? run_step(r, i + 1, text + from, to - from, first && from == 0) : 0;
}

/* Take the next piece [from, to), a match or what lies between two; hand on what is complete. */
static int feed(struct cutting *r, int i, const char *text, bool first, struct held *h, int64_t from, int64_t to,
                bool match) {
    bool join = false;
    switch (r->p->step[i].cut) {
    case CUT_ISOLATED:
        return give(r, i, text, from, to, first);
    case CUT_REMOVED:
        return match ? 0 : give(r, i, text, from, to, first);
    case CUT_WITH_PREVIOUS:
        join = h->any && match && !h->match;
        break;
    case CUT_WITH_NEXT:
        join = h->any && !match && h->match;
        break;
    case CUT_CONTIGUOUS:
        join = h->any && match == h->match;
        break;
    }
    if (!join) {
        if (h->any && give(r, i, text, h->from, h->to, first) < 0) return -1;
        h->from = from;
    }
    h->to = to;
    h->any = true;
    h->match = match;
    return 0;
}

static int cut(struct cutting *r, int i, const char *text, int64_t n, bool first) {
    const struct pretoken_step *s = &r->p->step[i];
    struct held h = {0};
    struct pattern_walk w = {0};
    int64_t done = 0, start, end;
    int found;
    while ((found = pattern_next(s->pattern, r->s->match, text, n, &w, &start, &end, r->err)) > 0) {
        if (start > done && feed(r, i, text, first, &h, done, start, s->invert) < 0) return -1;
        if (feed(r, i, text, first, &h, start, end, !s->invert) < 0) return -1;
        done = end;
    }
    if (found < 0) return -1;
    if (done < n && feed(r, i, text, first, &h, done, n, s->invert) < 0) return -1;
    return h.any ? give(r, i, text, h.from, h.to, first) : 0;
}

/* text with spaces replaced and the prefix before it, in the step's buffer. */
static int respace(struct cutting *r, int i, const char **text, int64_t *n, bool first) {
    const struct pretoken_step *s = &r->p->step[i];
    struct bytes *b = &r->s->text[i];
    int64_t len = (int64_t)strlen(s->space), done = 0;
    b->n = 0;
    bool has = (*n >= len && memcmp(*text, s->space, (size_t)len) == 0) || (*n > 0 && **text == ' ');
    if ((s->prefix == PREFIX_ALWAYS || (s->prefix == PREFIX_FIRST && first)) && !has) {
        if (bytes_push(b, s->space, len, r->err) < 0) return -1;
    }
    while (done < *n) {
        const char *space = memchr(*text + done, ' ', (size_t)(*n - done));
        int64_t to = space ? space - *text : *n;
        if (bytes_push(b, *text + done, to - done, r->err) < 0) return -1;
        if (space && bytes_push(b, s->space, len, r->err) < 0) return -1;
        done = to + 1;
    }
    *text = b->v;
    *n = b->n;
    return 0;
}

static int run_step(struct cutting *r, int i, const char *text, int64_t n, bool first) {
    if (i == r->p->n) return r->emit(r->ctx, text, n, r->err);
    const struct pretoken_step *s = &r->p->step[i];
    if (s->space[0] && respace(r, i, &text, &n, first) < 0) return -1;
    return s->pattern ? cut(r, i, text, n, first) : run_step(r, i + 1, text, n, first);
}

int pretoken_run(const struct pretoken *p, struct pretoken_scratch *s, const char *text, int64_t n, bool first,
                 pretoken_emit *emit, void *ctx, struct err *err) {
    struct cutting r = {.p = p, .s = s, .emit = emit, .ctx = ctx, .err = err};
    return n > 0 ? run_step(&r, 0, text, n, first) : 0;
}

int32_t byte_level_char(int byte) {
    bool plain = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    if (plain) return byte;
    /* The others (0 ... 32, 127 ... 160, 173) follow from U+0100 on, in order. */
    return 256 + (byte <= 32 ? byte : byte <= 0xA0 ? byte - 127 + 33 : 67);
}

int byte_level_byte(int32_t cp) {
    if (cp >= 256 && cp < 256 + 68) {
        int k = cp - 256;
        return k <= 32 ? k : k < 67 ? k - 33 + 127 : 0xAD;
    }
    return cp >= 0 && cp < 256 && byte_level_char(cp) == cp ? cp : -1;
}
