/* pattern: see the header. Matching never recurses on the text (JIT with its own stack) and is bounded by a match
 * limit. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/buffer.h"
#include "text/utf8.h"

enum { STACK_MAX = 1 << 20, MATCH_LIMIT = 1000000, REGEX_MAX = 1 << 16 };

struct pattern {
    pcre2_code *code; /* NULL: literal */
    char *text;
    int64_t n;
};
struct pattern_scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

struct pattern *pattern_literal(const char *text, int64_t n, struct err *err) {
    struct pattern *p = mem_alloc(1, sizeof *p, "pattern", err);
    if (p == NULL) return NULL;
    p->text = mem_alloc(n, 1, "pattern", err);
    if (p->text == NULL) return mem_free(p), NULL;
    memcpy(p->text, text, (size_t)n);
    p->n = n;
    return p;
}

void pattern_free(struct pattern *p) {
    if (p == NULL) return;
    pcre2_code_free(p->code);
    mem_free(p->text);
    mem_free(p);
}

/* One escape sequence \X at s: append its translation, return its length, or -1. */
static int escape(struct bytes *out, const char *s, bool in_class, struct err *err) {
    const char *to = NULL;
    char script[80];
    int len = 2;
    switch (s[1]) {
    case 0:
        return err_set(err, "ends in a backslash");
    case 's':
        to = "\\p{White_Space}";
        break;
    case 'S':
        to = "\\P{White_Space}";
        break;
    case 'w':
        to = in_class ? "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" : "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
        break;
    case 'W':
        to = "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
        if (in_class) return err_set(err, "\\W inside [...] is not supported");
        break;
    case 'h':
    case 'H':
    case 'X':
    case 'K':
    case 'G':
    case 'b':
    case 'B':
    case 'R':
        return err_set(err, "\\%c is not supported", s[1]);
    case 'p':
    case 'P': {
        int n = 0;
        if (s[2] != '{') break;
        while (s[3 + n] != '}' && s[3 + n] != 0) n++;
        if (s[3 + n] == 0 || n > 60) return err_set(err, "bad \\%c{...}", s[1]);
        len = 4 + n;
        /* PCRE2 takes a bare script name for its "script extensions"; try it as a script. */
        int code;
        PCRE2_SIZE at;
        snprintf(script, sizeof script, "\\p{sc:%.*s}", n, s + 3);
        pcre2_code *test = pcre2_compile((PCRE2_SPTR)script, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
        if (test != NULL) to = script, script[1] = s[1];
        pcre2_code_free(test);
        break;
    }
    default:
        break;
    }
    return bytes_push(out, to ? to : s, to ? (int64_t)strlen(to) : len, err) < 0 ? -1 : len;
}

/* Does an option group begin here, (?im) or (?x-m:, that has m? To Oniguruma it lets . match line breaks. */
static bool has_m(const char *s) {
    if (s[0] != '(' || s[1] != '?') return false;
    const size_t n = strspn(s + 2, "^-ADJPSUWabcdefghijklmnopqrstuvwxyz");
    return (s[2 + n] == ':' || s[2 + n] == ')') && memchr(s + 2, 'm', n);
}

static int translate(struct bytes *out, const char *s, struct err *err) {
    bool in_class = false;
    if (bytes_push(out, "", 0, err) < 0) return -1;
    while (*s) {
        int len = 1;
        if (*s == '\\') {
            if ((len = escape(out, s, in_class, err)) < 0) return -1;
            s += len;
            continue;
        }
        if (!in_class && *s == '[') {
            in_class = true;
            len = s[1] == '^' ? 2 : 1;
            if (s[len] == ']') return err_set(err, "']' right after '[' is not supported");
        } else if (in_class && *s == ']') {
            in_class = false;
        } else if (in_class && s[0] == '[' && s[1] == ':') {
            const char *end = strstr(s + 2, ":]");
            if (end == NULL || end - s > 20) return err_set(err, "bad [:...:]");
            len = (int)(end - s) + 2;
        } else if (in_class && (*s == '[' || (s[0] == '&' && s[1] == '&'))) {
            return err_set(err, "a set inside [...] is not supported");
        } else if (!in_class && has_m(s)) {
            return err_set(err, "the option m, as in (?m), is not supported");
        }
        if (bytes_push(out, s, len, err) < 0) return -1;
        s += len;
    }
    return 0;
}

struct pattern *pattern_regex(const char *regex, struct err *err) {
    if (strlen(regex) > REGEX_MAX) {
        err_set(err, "regular expression of %zu bytes: expected at most %d", strlen(regex), REGEX_MAX);
        return NULL;
    }
    struct bytes pcre = {0};
    struct pattern *p = mem_alloc(1, sizeof *p, "pattern", err);
    if (p == NULL) return NULL;
    int code = 0;
    PCRE2_SIZE at = 0;
    if (translate(&pcre, regex, err) < 0) goto fail;
    p->code = pcre2_compile((PCRE2_SPTR)pcre.v, (PCRE2_SIZE)pcre.n,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (p->code == NULL) {
        PCRE2_UCHAR what[128];
        pcre2_get_error_message(code, what, sizeof what);
        err_set(err, "%s", (char *)what);
        goto fail;
    }
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without JIT (other processors) pcre2_match() interprets */
    bytes_free(&pcre);
    return p;
fail:
    err_prefix(err, "regular expression \"%.200s\"", regex);
    bytes_free(&pcre);
    pattern_free(p);
    return NULL;
}

struct pattern_scratch *pattern_scratch_new(struct err *err) {
    struct pattern_scratch *s = mem_alloc(1, sizeof *s, "match buffers", err);
    if (s == NULL) return NULL;
    s->data = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(32 * 1024, STACK_MAX, NULL);
    if (s->data == NULL || s->context == NULL || s->stack == NULL) {
        err_set(err, "out of memory for match buffers");
        pattern_scratch_free(s);
        return NULL;
    }
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_jit_stack_assign(s->context, NULL, s->stack);
    return s;
}

void pattern_scratch_free(struct pattern_scratch *s) {
    if (s == NULL) return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    mem_free(s);
}

static int find(const struct pattern *p, struct pattern_scratch *s, const char *text, int64_t n, int64_t from,
                int64_t *start, int64_t *end, struct err *err) {
    if (p->code == NULL) {
        const char *at = memmem(text + from, (size_t)(n - from), p->text, (size_t)p->n);
        if (at == NULL) return 0;
        *start = at - text;
        *end = *start + p->n;
        return 1;
    }
    int r = pcre2_match(p->code, (PCRE2_SPTR)text, (PCRE2_SIZE)n, (PCRE2_SIZE)from, PCRE2_NO_UTF_CHECK, s->data,
                        s->context);
    if (r == PCRE2_ERROR_NOMATCH) return 0;
    if (r < 0) {
        PCRE2_UCHAR what[128];
        pcre2_get_error_message(r, what, sizeof what);
        return err_set(err, "splitting the text by the tokenizer's regular expression: %s", (char *)what);
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(s->data);
    *start = (int64_t)span[0];
    *end = (int64_t)span[1];
    return 1;
}

int pattern_next(const struct pattern *p, struct pattern_scratch *s, const char *text, int64_t n,
                 struct pattern_walk *w, int64_t *start, int64_t *end, struct err *err) {
    while (w->from <= n) {
        int found = find(p, s, text, n, w->from, start, end, err);
        if (found <= 0) return found;
        w->from = *end;
        if (*start < *end) {
            w->done = *end;
            return 1;
        }
        int32_t cp;
        w->from += *end < n ? utf8_get(text + *end, &cp) : 1;
        if (*end > w->done || *end == 0) {
            w->done = *end;
            return 1;
        }
    }
    return 0;
}
