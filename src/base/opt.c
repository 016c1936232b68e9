/* opt: reads a table of options; knows no option itself. What it prints of a table is in opt_help.c. */
#include "base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { NAME_MAX_LEN = 63 };

static int count(const struct opt *opts) {
    int n = 0;
    while (opts && opts[n].name) n++;
    return n;
}

/* ---- near misses ---- */

static int least(int a, int b) {
    return a < b ? a : b;
}

/* Insertions, deletions, substitutions and swaps of neighbours that turn a into b. */
static int distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > NAME_MAX_LEN || m > NAME_MAX_LEN) return INT_MAX;
    int d[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            int differ = a[i - 1] != b[j - 1];
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + differ);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

const char *opt_nearest(const char *word, const char *const *names, int n) {
    int length = (int)strlen(word), most = length / 3, at_least = length > 3 ? 2 : 1;
    if (most < at_least) most = at_least;
    const char *best = NULL;
    for (int i = 0; i < n; i++) {
        int d = distance(word, names[i]);
        if (d > most || d >= length) continue;
        best = names[i];
        most = d - 1;
    }
    return best;
}

static int unknown(const struct command *cmd, const struct opt *opts, const char *word, struct err *err) {
    const char *names[OPT_ROWS + 1] = {"help"};
    int n = 1;
    for (int i = 0; i < count(opts); i++) names[n++] = opts[i].name;
    char name[NAME_MAX_LEN + 1];
    const char *start = word + strspn(word, "-");
    snprintf(name, sizeof name, "%.*s", (int)strcspn(start, "="), start);
    bool negated = !strncmp(name, "no-", 3);
    const char *near = opt_nearest(negated ? name + 3 : name, names, n);
    if (near) return err_set(err, "unknown option '%s'; did you mean '--%s%s'?", word, negated ? "no-" : "", near);
    return err_set(err, "unknown option '%s'; 'mdm %s --help' lists them", word, cmd->name);
}

/* ---- values ---- */

/* A finite decimal number with an optional k, M or G. */
static bool parse_real(const char *s, double *out) {
    char *end;
    double x = strtod(s, &end);
    if (end == s || strpbrk(s, "xXpP")) return false;
    if (*end && !end[1]) {
        double scale = strchr("kK", *end) ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' ? 1e9 : 0;
        if (scale == 0) return false;
        x = nearbyint(x * scale * 1e3) / 1e3; /* 1.1k is 1100, though 1.1 is not a binary fraction */
        end++;
    }
    *out = x;
    return !*end && isfinite(x);
}

/* Whole numbers keep all 64 bits; 1e6, 4k and the like go through a double. */
static bool parse_int(const char *s, int64_t *out) {
    char *end;
    errno = 0;
    long long whole = strtoll(s, &end, 10);
    if (end != s && !*end && !errno) {
        *out = whole;
        return true;
    }
    double x;
    if (!parse_real(s, &x) || !(fabs(x) <= 0x1p53) || x != floor(x)) return false;
    *out = (int64_t)x;
    return true;
}

static bool parse_flag(const char *s, bool *out) {
    *out = !strcmp(s, "true") || !strcmp(s, "1");
    return *out || !strcmp(s, "false") || !strcmp(s, "0");
}

/* Index of `s` among names separated by '|', or -1. */
static int parse_choice(const char *s, const char *names) {
    size_t len = strlen(s);
    for (int i = 0;; i++) {
        size_t n = strcspn(names, "|");
        if (n == len && !strncmp(s, names, n)) return i;
        if (!names[n]) return -1;
        names += n + 1;
    }
}

/* .min alone set (max left 0) bounds from below only. */
static int check_bounds(const struct opt *o, double x, const char *value, struct err *err) {
    bool upper = o->max >= o->min && (o->min != 0 || o->max != 0), lower = o->min != 0 || o->max != 0;
    if (lower && upper && (x < o->min || x > o->max))
        return err_set(err, "--%s must be between %.16g and %.16g, found '%s'", o->name, o->min, o->max, value);
    if (lower && x < o->min) return err_set(err, "--%s must be at least %.16g, found '%s'", o->name, o->min, value);
    return 0;
}

int opt_set(const struct opt *o, const char *value, struct err *err) {
    int64_t whole;
    double real;
    bool flag;
    int choice;
    if (o->type != OPT_STR && o->type != OPT_LIST && (isspace((unsigned char)*value) || !*value))
        return err_set(err, "--%s needs a value, found '%s'", o->name, value);
    switch (o->type) {
    case OPT_FLAG:
        if (!parse_flag(value, &flag)) return err_set(err, "--%s must be true or false, found '%s'", o->name, value);
        *(bool *)o->target = flag;
        return 0;
    case OPT_INT:
        if (!parse_int(value, &whole))
            return err_set(err, "--%s must be a whole number such as 10, 1e6, 4k or 2M, found '%s'", o->name, value);
        if (check_bounds(o, (double)whole, value, err) < 0) return -1;
        *(int64_t *)o->target = whole;
        return 0;
    case OPT_REAL:
        if (!parse_real(value, &real))
            return err_set(err, "--%s must be a number such as 0.1, 2e-4 or 2M, found '%s'", o->name, value);
        if (check_bounds(o, real, value, err) < 0) return -1;
        *(double *)o->target = real;
        return 0;
    case OPT_STR:
        *(const char **)o->target = value;
        return 0;
    case OPT_LIST:
        for (const char **list = o->target; list < (const char **)o->target + (int)o->max; list++)
            if (!*list) {
                list[0] = value;
                list[1] = NULL;
                return 0;
            }
        return err_set(err, "--%s may be given %d times, found one more: '%s'", o->name, (int)o->max, value);
    case OPT_CHOICE:
        choice = parse_choice(value, o->meta);
        if (choice < 0) return err_set(err, "--%s must be one of %s, found '%s'", o->name, o->meta, value);
        *(int *)o->target = choice;
        return 0;
    }
    err_bug(__FILE__, __LINE__, "an option of unknown type");
}

/* ---- the command line ---- */

/* The row that `name` (n bytes) names, or -1. "no-show" finds the flag "show" and says so. */
static int find(const struct opt *opts, const char *name, size_t n, bool *negated) {
    *negated = false;
    for (int i = 0; i < count(opts); i++)
        if (strlen(opts[i].name) == n && !strncmp(opts[i].name, name, n)) return i;
    if (n < 4 || strncmp(name, "no-", 3) != 0) return -1;
    for (int i = 0; i < count(opts); i++)
        if (opts[i].type == OPT_FLAG && strlen(opts[i].name) == n - 3 && !strncmp(opts[i].name, name + 3, n - 3)) {
            *negated = true;
            return i;
        }
    return -1;
}

/* One option at argv[*at], which is left at the last word used. Returns its row or -1. */
static int take(const struct command *cmd, const struct opt *opts, int argc, char **argv, int *at, struct err *err) {
    const char *word = argv[*at], *equals = strchr(word, '='), *value = equals ? equals + 1 : NULL;
    size_t n = strcspn(word, "=");
    bool negated;
    int row = n > 2 && word[1] == '-' ? find(opts, word + 2, n - 2, &negated) : -1;
    if (row < 0) return unknown(cmd, opts, word, err);
    const struct opt *o = &opts[row];
    if (o->type == OPT_FLAG) {
        if (value)
            return err_set(err, "--%s takes no value, found '%s'; say --%s or --no-%s", o->name, value, o->name,
                           o->name);
        *(bool *)o->target = !negated;
        return row;
    }
    if (!value) {
        if (*at + 1 >= argc || (!strncmp(argv[*at + 1], "--", 2) && argv[*at + 1][2] != '-'))
            return err_set(err, "--%s needs a value: --%s %s", o->name, o->name, o->meta);
        value = argv[++*at];
    }
    return opt_set(o, value, err) < 0 ? -1 : row;
}

/* In which form the line asks for help, or OPT_FORMS. */
static enum opt_form wants_help(int argc, char **argv) {
    static const char *const asks[OPT_FORMS] = {"--help", "--help=man", "--help=words"};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "-h")) return OPT_HELP;
        for (int form = 0; form < OPT_FORMS; form++)
            if (!strcmp(argv[i], asks[form])) return (enum opt_form)form;
    }
    return OPT_FORMS;
}

int opt_parse(const struct command *cmd, const struct opt *opts, int argc, char **argv, int *noperands,
              struct opt_given *given, struct err *err) {
    struct opt_given seen = {.opts = opts};
    bool only_operands = false;
    BUG_ON(count(opts) > OPT_ROWS);
    *noperands = 0;
    const enum opt_form form = wants_help(argc, argv);
    if (form != OPT_FORMS) {
        opt_help(cmd, opts, form);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        if (!only_operands && !strcmp(argv[i], "--")) {
            only_operands = true;
        } else if (only_operands || argv[i][0] != '-' || !argv[i][1]) {
            if (!cmd->operands) return err_set(err, "unexpected '%s': the command takes options only", argv[i]);
            argv[++*noperands] = argv[i];
        } else {
            int row = take(cmd, opts, argc, argv, &i, err);
            if (row < 0) return -1;
            seen.row[row] = true;
        }
    }
    for (int i = 0; i < count(opts); i++)
        if (opts[i].required && !seen.row[i])
            return err_set(err, "--%s %s is required (%s)", opts[i].name, opts[i].meta, opts[i].help);
    if (given) *given = seen;
    return 0;
}

static int row_of(const struct opt_given *given, const char *name) {
    for (int i = 0; i < count(given->opts); i++)
        if (!strcmp(given->opts[i].name, name)) return i;
    err_bug(__FILE__, __LINE__, name);
}

bool opt_given(const struct opt_given *given, const char *name) {
    return given->row[row_of(given, name)];
}

int opt_imply(struct opt_given *given, const char *name, const char *value, struct err *err) {
    const int i = row_of(given, name);
    if (given->row[i]) return 0;
    given->row[i] = given->implied[i] = true;
    given->kept[i] = value == NULL;
    return value ? opt_set(&given->opts[i], value, err) : 0;
}

bool opt_implied(const struct opt_given *given, const char *name) {
    return given->implied[row_of(given, name)];
}

bool opt_kept(const struct opt_given *given, const char *name) {
    return given->kept[row_of(given, name)];
}

const char *opt_names(char out[OPT_NAMES], const void *rows, size_t size) {
    size_t n = 0;
    *out = 0;
    for (const char *row = rows; *(const char *const *)row; row += size) {
        n += (size_t)snprintf(out + n, OPT_NAMES - n, "%s%s", n ? "|" : "", *(const char *const *)row);
        BUG_ON(n >= OPT_NAMES);
    }
    return out;
}
