/* pystring: see pystring.h. utf8proc has the cases. */
#include "eval/pystring.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/buffer.h"
#include "base/err.h"
#include "text/utf8.h"

int64_t py_length(const char *s, int64_t n) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += (s[i] & 0xC0) != 0x80;
    return count;
}

/* str.isspace() also takes the four separators of ASCII. */
static bool is_space(int32_t c) {
    return (c >= 0x1c && c <= 0x1f) || utf8_is_space(c);
}

void py_strip(const char **s, int64_t *n) {
    int32_t c;
    for (int w; *n > 0; *s += w, *n -= w) {
        w = utf8_next(*s, *n, &c);
        if (!is_space(c)) break;
    }
    for (int64_t start; *n > 0; *n = start) {
        start = *n - 1;
        while (start > 0 && ((*s)[start] & 0xC0) == 0x80) start--;
        utf8_next(*s + start, *n - start, &c);
        if (!is_space(c)) break;
    }
}

static int push_cased(struct bytes *out, const char *s, int64_t n, bool title, struct err *err) {
    int r = 0;
    for (int64_t i = 0; r == 0 && i < n;) {
        int32_t c;
        char put[4];
        const int w = utf8_next(s + i, n - i, &c);
        if (c < 0) {
            r = bytes_push(out, s + i, w, err);
        } else {
            c = title && i == 0 ? utf8proc_totitle(c) : utf8proc_tolower(c);
            r = bytes_push(out, put, utf8_put(put, c), err);
        }
        i += w;
    }
    return r;
}

int py_lower(struct bytes *out, const char *s, int64_t n, struct err *err) {
    return push_cased(out, s, n, false, err);
}

int py_capitalize(struct bytes *out, const char *s, int64_t n, struct err *err) {
    return push_cased(out, s, n, true, err);
}

/* ---- literals ---- */

enum { DEPTH_MAX = 64 };

struct literal {
    const char *start, *p, *end;
    int depth;
    struct err *err;
};

static json_t *value(struct literal *l);

static void *bad(const struct literal *l, const char *expected) {
    err_set(l->err, "byte %lld: expected %s", (long long)(l->p - l->start) + 1, expected);
    return NULL;
}

static char peek(struct literal *l) { /* the next character that is no white space; 0 at the end */
    while (l->p < l->end && strchr(" \t\r\n\f", *l->p) && *l->p) l->p++;
    return l->p < l->end ? *l->p : 0;
}

/* Up to `most` digits of a base, at least `least`; -1 when there are fewer. */
static int32_t digits(struct literal *l, int base, int least, int most) {
    int32_t x = 0;
    int n = 0;
    for (; n < most && l->p < l->end; n++, l->p++) {
        const char c = *l->p;
        const int d = c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : base;
        if (d >= base) break;
        x = x * base + d;
    }
    return n < least ? -1 : x;
}

/* Behind a backslash. */
static int escape(struct literal *l, struct bytes *out) {
    static const char letters[] = "\\'\"abfnrtv", means[] = "\\'\"\a\b\f\n\r\t\v";
    if (l->p == l->end) return bad(l, "an escape"), -1;
    const char c = *l->p++, *known = c ? strchr(letters, c) : NULL;
    int32_t x;
    char put[4];
    if (known) return bytes_push(out, means + (known - letters), 1, l->err);
    if (c == '\n') return 0;
    if (c >= '0' && c <= '7')
        l->p--, x = digits(l, 8, 1, 3);
    else if (c == 'x' || c == 'u' || c == 'U')
        x = c == 'x' ? digits(l, 16, 2, 2) : c == 'u' ? digits(l, 16, 4, 4) : digits(l, 16, 8, 8);
    else if (c == 'N')
        x = -1;
    else
        return bytes_push(out, "\\", 1, l->err) < 0 ? -1 : bytes_push(out, &c, 1, l->err);
    if (x < 0 || x > 0x10FFFF || (x >= 0xD800 && x < 0xE000)) return bad(l, "the escape of a character"), -1;
    return bytes_push(out, put, utf8_put(put, x), l->err);
}

static int string(struct literal *l, struct bytes *out) {
    const char quote = *l->p++;
    while (l->p < l->end && *l->p != quote) {
        if (*l->p == '\n') return bad(l, "no line break in a string"), -1;
        const char c = *l->p++;
        if (c == '\\' ? escape(l, out) < 0 : bytes_push(out, &c, 1, l->err) < 0) return -1;
    }
    if (l->p == l->end) return bad(l, "the end of a string"), -1;
    l->p++;
    return 0;
}

/* One string, or several one behind another, which are one. */
static json_t *strings(struct literal *l) {
    struct bytes text = {0};
    int r = bytes_push(&text, "", 0, l->err);
    for (char c; r == 0 && ((c = peek(l)) == '\'' || c == '"');) r = string(l, &text);
    json_t *v = r == 0 ? json_stringn(text.v, (size_t)text.n) : NULL;
    if (r == 0 && !v) bad(l, "UTF-8 before it");
    bytes_free(&text);
    return v;
}

static json_t *list(struct literal *l, char end) {
    json_t *v = json_array();
    for (l->p++; v && peek(l) != end;) {
        json_t *element = value(l);
        bool more = element && json_array_append_new(v, element) == 0;
        if (more && peek(l) == ',')
            l->p++;
        else if (more && peek(l) != end)
            more = bad(l, end == ']' ? "',' or ']'" : "',' or ')'");
        if (!more) {
            json_decref(v);
            return NULL;
        }
    }
    l->p++;
    return v;
}

static bool member(struct literal *l, json_t *v) {
    if (peek(l) != '\'' && peek(l) != '"') return bad(l, "a string as key");
    json_t *key = strings(l);
    bool more = key && (peek(l) == ':' || bad(l, "':'"));
    if (more) {
        l->p++;
        json_t *element = value(l);
        more = element && json_object_setn_new(v, json_string_value(key), json_string_length(key), element) == 0;
    }
    json_decref(key);
    return more;
}

static json_t *dict(struct literal *l) {
    json_t *v = json_object();
    for (l->p++; v && peek(l) != '}';) {
        bool more = member(l, v);
        if (more && peek(l) == ',')
            l->p++;
        else if (more && peek(l) != '}')
            more = bad(l, "',' or '}'");
        if (!more) {
            json_decref(v);
            return NULL;
        }
    }
    l->p++;
    return v;
}

static json_t *number(struct literal *l) {
    char text[24] = "", *rest;
    size_t n = 0;
    for (; l->p < l->end && (isdigit((unsigned char)*l->p) || (n == 0 && *l->p == '-')); l->p++)
        if (n < sizeof text - 1) text[n++] = *l->p;
    errno = 0;
    const long long x = strtoll(text, &rest, 10);
    return errno || *rest || rest == text || text[n - 1] == '-' ? bad(l, "a 64-bit integer") : json_integer(x);
}

static json_t *value(struct literal *l) {
    static const struct {
        const char *name;
        size_t n;
        json_type type;
    } names[] = {{"True", 4, JSON_TRUE}, {"False", 5, JSON_FALSE}, {"None", 4, JSON_NULL}};
    const char c = peek(l);
    json_t *v;
    if (l->depth == DEPTH_MAX) return bad(l, "fewer brackets in brackets");
    l->depth++;
    if (c == '\'' || c == '"')
        v = strings(l);
    else if (c == '[' || c == '(')
        v = list(l, c == '[' ? ']' : ')');
    else if (c == '{')
        v = dict(l);
    else if (c == '-' || isdigit((unsigned char)c))
        v = number(l);
    else {
        v = NULL;
        for (int i = 0; i < 3 && !v; i++)
            if ((size_t)(l->end - l->p) >= names[i].n && !memcmp(l->p, names[i].name, names[i].n)) {
                v = i == 2 ? json_null() : json_boolean(i == 0);
                l->p += names[i].n;
            }
        if (!v) bad(l, "a string, a list or a dict");
    }
    l->depth--;
    return v;
}

json_t *py_literal(const char *s, int64_t n, struct err *err) {
    struct err why = {{0}};
    struct literal l = {s, s, s + n, 0, &why};
    json_t *v = value(&l);
    if (v && peek(&l)) {
        bad(&l, "the end");
        json_decref(v);
        v = NULL;
    }
    if (!v) err_set(err, "%s", *why.msg ? why.msg : "no memory for a literal");
    return v;
}
