/* answer: marks are taken off by a table of replacements, then a small descent reads numbers. No algebra: "x + 1" and
 * "1 + x" are different answers. */
#include "eval/answer.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LONGEST = 256, DEEPEST = 16 }; /* bytes of an answer without its marks; braces within braces */

/* What is written in many ways. A replacement that ends a braced command ("\text{") loses the closing brace too. */
static const struct {
    const char *from, *to;
} marks[] = {
    {"\\text{", ""},    {"\\textbf{", ""},     {"\\mathrm{", ""},     {"\\mathbf{", ""},  {"\\mbox{", ""},
    {"\\boxed{", ""},   {"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"}, {"\\left", ""},     {"\\right", ""},
    {"\\quad", " "},    {"\\times", "*"},      {"\\cdot", "*"},       {"^{\\circ}", ""},  {"^\\circ", ""},
    {"\\circ", ""},     {"\\pounds", ""},      {"\\!", ""},           {"\\,", ""},        {"\\;", " "},
    {"\\:", " "},       {"\\ ", " "},          {"\\(", ""},           {"\\)", ""},        {"\\[", ""},
    {"\\]", ""},        {"US\\$", ""},         {"US$", ""},           {"USD", ""},        {"\\$", ""},
    {"$", ""},          {"\\%", "%"},          {"{,}", ","},          {"~", " "},         {"\n", " "},
    {"\t", " "},        {"\r", " "},           {"\u00a0", " "},       {"\u2009", ""},     {"\u202f", ""},
    {"\u2212", "-"},    {"\u2013", "-"},       {"\u00d7", "*"},       {"\u00b0", ""},     {"\u20ac", ""},
    {"\u00a3", ""},     {"\u00a5", ""},        {"\u20b9", ""},        {"\u00a2", ""},     {"\u00b2", "^2"},
    {"\u00b3", "^3"},   {"\u00bd", " 1/2"},    {"\u00bc", " 1/4"},    {"\u00be", " 3/4"}, {"\u2153", " 1/3"},
    {"\u2154", " 2/3"},
};

static const struct {
    const char *word;
    double times;
} scales[] = {{"hundred", 1e2}, {"thousand", 1e3}, {"million", 1e6}, {"billion", 1e9}, {"trillion", 1e12}};

/* A cursor over text that ends with NUL. */
static const char *spaces(const char *s) {
    while (*s == ' ') s++;
    return s;
}

static bool blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool answer_find(const char *text, int64_t n, const char **answer, int64_t *length) {
    for (int64_t i = n - 4; i >= 0; i--) {
        if (memcmp(text + i, "####", 4) != 0) continue;
        const char *s = text + i + 4, *end = memchr(s, '\n', (size_t)(text + n - s));
        if (!end) end = text + n;
        while (s < end && blank(*s)) s++;
        while (s < end && blank(end[-1])) end--;
        *answer = s;
        *length = end - s;
        return true;
    }
    return false;
}

/* ---- taking off the marks ---- */

/* s[n] without its marks and the white space around; false when the result would be too long. */
static bool plain(char out[LONGEST + 1], const char *s, int64_t n) {
    bool dropped[DEEPEST]; /* of the braces that are open: is the closing one to go? */
    int depth = 0;
    int64_t k = 0;
    for (int64_t i = 0; i < n;) {
        const char *to = NULL;
        bool opens = false;
        for (size_t m = 0; !to && m < sizeof marks / sizeof *marks; m++) {
            const size_t length = strlen(marks[m].from);
            if ((int64_t)length > n - i || memcmp(s + i, marks[m].from, length) != 0) continue;
            to = marks[m].to;
            opens = marks[m].from[length - 1] == '{';
            i += (int64_t)length;
        }
        const char one[2] = {to ? 0 : s[i], 0};
        if (!to) {
            i++;
            to = one;
            if (*one == '}' && depth > 0 && dropped[--depth]) continue;
        }
        if ((opens || *one == '{') && depth == DEEPEST) return false;
        if (opens || *one == '{') dropped[depth++] = opens;
        const size_t length = *one == 0 ? strlen(to) : 1;
        if (k + (int64_t)length > LONGEST) return false;
        memcpy(out + k, to, length);
        k += (int64_t)length;
    }
    while (k > 0 && strchr(" .,;:", out[k - 1])) k--;
    out[k] = 0;
    return true;
}

/* Do the first and the last byte of s[n] enclose the rest, which is not a list? */
static bool enclosed(const char *s, size_t n) {
    const char open = *s, close = open == '(' ? ')' : '}';
    int depth = 0;
    if (n < 2 || (open != '(' && open != '{') || strchr(s, ',')) return false;
    for (size_t i = 0; i < n; i++) {
        depth += (s[i] == open) - (s[i] == close);
        if (depth == 0) return i == n - 1;
    }
    return false;
}

/* "x = 5" says 5, and so do "(5)", "{5}" and "**5**". The part to read; may put an end into s. */
static char *core(char *s) {
    char *equals = strchr(s, '=');
    if (equals && !strchr(equals + 1, '=')) {
        const char *left = spaces(s);
        int64_t length = equals - left;
        while (length > 0 && left[length - 1] == ' ') length--;
        if (length <= 2) s = equals + 1;
    }
    for (;;) {
        while (*s == ' ') s++;
        const size_t n = strlen(s);
        if (n > 4 && strncmp(s, "**", 2) == 0 && strcmp(s + n - 2, "**") == 0) {
            s[n - 2] = 0;
            s += 2;
            continue;
        }
        if (!enclosed(s, n)) return s;
        s[n - 1] = 0;
        s++;
    }
}

/* ---- numbers ---- */

/* Digits with commas in thousands, a fraction part, an exponent. NULL: none here. */
static const char *decimal(const char *s, double *value) {
    char digits[LONGEST + 1];
    int k = 0, group = 0;
    bool commas = false, any = false;
    const char *end = s;
    for (; isdigit((unsigned char)*end) || (*end == ',' && any && isdigit((unsigned char)end[1])); end++) {
        if (*end == ',') {
            /* three in the last group; two or three in one before it (as in 1,00,000); at most three in the first */
            if (group > 3 || (commas && group < 2)) return NULL;
            commas = true;
            group = 0;
            continue;
        }
        digits[k++] = *end;
        group++;
        any = true;
    }
    if (commas && group != 3) return NULL;
    if (*end == '.' && (any || isdigit((unsigned char)end[1]))) {
        digits[k++] = *end++;
        for (; isdigit((unsigned char)*end); end++) {
            digits[k++] = *end;
            any = true;
        }
    }
    if (!any) return NULL;
    const char *e = end + 1 + (end[0] && (end[1] == '-' || end[1] == '+'));
    if ((*end == 'e' || *end == 'E') && isdigit((unsigned char)*e)) {
        while (isdigit((unsigned char)*e)) e++;
        memcpy(digits + k, end, (size_t)(e - end));
        k += (int)(e - end);
        end = e;
    }
    digits[k] = 0;
    *value = strtod(digits, NULL);
    return isfinite(*value) ? end : NULL;
}

/* An argument of \frac: one digit, or a decimal in braces. */
static const char *argument(const char *s, double *value) {
    s = spaces(s);
    if (isdigit((unsigned char)*s)) {
        *value = *s - '0';
        return s + 1;
    }
    if (*s != '{') return NULL;
    s = spaces(s + 1);
    const bool negative = *s == '-';
    s = decimal(spaces(s + negative), value);
    if (!s || *(s = spaces(s)) != '}') return NULL;
    if (negative) *value = -*value;
    return s + 1;
}

/* "\frac{3}{4}" or "3/4". */
static const char *fraction(const char *s, double *value) {
    double over, under = 0;
    if (strncmp(s, "\\frac", 5) == 0) {
        s = argument(s + 5, &over);
        if (s) s = argument(s, &under);
    } else {
        s = decimal(s, &over);
        if (!s || *(s = spaces(s)) != '/') return NULL;
        s = decimal(spaces(s + 1), &under);
    }
    if (!s || under == 0) return NULL;
    *value = over / under;
    return s;
}

/* A fraction, a decimal, or a decimal and a fraction (1 1/2); then "* 10^4". */
static const char *number(const char *s, double *value) {
    double part, power;
    const char *end = fraction(s, value);
    if (!end) {
        end = decimal(s, value);
        if (!end) return NULL;
        const char *more = fraction(spaces(end), &part);
        if (more && part > 0 && part < 1) {
            *value += part;
            end = more;
        }
    }
    const char *times = spaces(end);
    if (*times != '*' || strncmp(spaces(times + 1), "10^", 3) != 0) return end;
    times = spaces(times + 1) + 3;
    const bool braced = *times == '{';
    const bool negative = times[braced] == '-';
    times = decimal(times + braced + negative, &power);
    if (!times || (braced && *times != '}')) return end;
    *value *= pow(10, negative ? -power : power);
    return isfinite(*value) ? times + braced : NULL;
}

/* In small letters or large ones; no letter follows. */
static bool begins_with_word(const char *s, const char *word) {
    const size_t n = strlen(word);
    return strncasecmp(s, word, n) == 0 && !isalpha((unsigned char)s[n]);
}

/* Is s a unit of measure, or words, rather than the rest of a formula or of a longer number? "5 m" is five metres; "5x",
 * "5k" and "5 and a half" are not five of something. */
static bool is_unit(const char *s) {
    static const char *const joins[] = {"and", "or", "to", "plus", "minus", "times", "pi", "half"};
    s = spaces(s);
    if (*s == '%') s = spaces(s + 1);
    if (isalpha((unsigned char)*s) && s[1] == 0) return strchr("mgslhtdLWVACFJN", *s) != NULL;
    if (*s && strspn(s, "xyz") == strlen(s)) return false;
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++)
        if (begins_with_word(s, joins[i])) return false;
    for (const char *c = s; *c; c++) {
        const bool power = *c == '^' && c > s && isalpha((unsigned char)c[-1]) && (c[1] == '2' || c[1] == '3');
        if (!power && !isalpha((unsigned char)*c) && !strchr(" .,/-'\"()", *c)) return false;
        c += power;
    }
    return true;
}

/* The row of the word of scale at s, or -1. */
static int scale_of(const char *s) {
    int k = sizeof scales / sizeof *scales - 1;
    while (k >= 0 && !begins_with_word(s, scales[k].word)) k--;
    return k;
}

/* The number that an answer without marks says. */
static bool as_number(const char *s, double *value) {
    bool negative = false;
    if (*s == '-' || *s == '+') {
        negative = *s == '-';
        s = spaces(s + 1);
    }
    s = number(s, value);
    if (!s) return false;
    for (int k; (k = scale_of(spaces(s))) >= 0;) { /* "5 hundred thousand" has two */
        *value *= scales[k].times;
        s = spaces(s) + strlen(scales[k].word);
    }
    if (!is_unit(s)) return false;
    if (negative) *value = -*value;
    return true;
}

/* ---- text ---- */

/* Without spaces, in small letters, and with braces around each argument of \frac and \sqrt: at most four bytes more for
 * five. */
static void as_text(char out[2 * LONGEST + 1], const char *s) {
    int k = 0, arguments = 0, depth = 0;
    for (; *s; s++) {
        if (*s == ' ') continue;
        const bool command = strncmp(s, "\\frac", 5) == 0 || strncmp(s, "\\sqrt", 5) == 0;
        if (command) {
            memcpy(out + k, s, 5);
            arguments = s[1] == 'f' ? 2 : 1;
            depth = 0;
            k += 5;
            s += 4;
            continue;
        }
        const bool bare = arguments > 0 && depth == 0 && *s != '{' && *s != '[';
        if (bare) out[k++] = '{';
        out[k++] = (char)tolower((unsigned char)*s);
        if (bare) out[k++] = '}';
        if (*s == '{' || *s == '[') depth++;
        if (*s == '}' && depth > 0) depth--;
        if (*s == ']' && depth > 0) {
            depth--;
            continue; /* the root's degree: its argument is still to come */
        }
        if (arguments > 0 && depth == 0) arguments--;
    }
    out[k] = 0;
}

bool answer_equal(const char *a, int64_t n, const char *b, int64_t m) {
    char buffer[2][LONGEST + 1], text[2][2 * LONGEST + 1];
    double x, y;
    if (!plain(buffer[0], a, n) || !plain(buffer[1], b, m)) return n == m && memcmp(a, b, (size_t)n) == 0;
    const char *s = core(buffer[0]), *t = core(buffer[1]);
    if (*s == 0 || *t == 0) return false;
    const bool numbers[2] = {as_number(s, &x), as_number(t, &y)};
    if (numbers[0] && numbers[1]) return fabs(x - y) <= 1e-12 * fmax(fabs(x), fabs(y));
    if (numbers[0] != numbers[1]) return false;
    as_text(text[0], s);
    as_text(text[1], t);
    return strcmp(text[0], text[1]) == 0;
}
