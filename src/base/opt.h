/* opt: command-line options as a table. One table gives the parser, the help text and the near-miss hints.
 *
 *     struct args { const char *out; int64_t steps; double lr; bool show; } a = {.steps = 64, .lr = 2e-4};
 *     const struct opt opts[] = {
 *         {"out", OPT_STR, &a.out, "DIR", "folder to write", .required = true},
 *         {"steps", OPT_INT, &a.steps, "N", "sampling steps", .min = 1, .max = 1e6},
 *         {"sampler", OPT_CHOICE, &a.sampler, "ancestral|confidence", "how positions are chosen"},
 *         {"show", OPT_FLAG, &a.show, NULL, "draw the unmasking live"},
 *         {0}};
 *
 * `--name value`, `--name=value`, flags `--name` and `--no-name`; `--` ends options; the rest are operands. Defaults
 * are what the targets hold before parsing, and help prints them. An unknown option names the nearest known one. */
#ifndef MDM_BASE_OPT_H
#define MDM_BASE_OPT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum opt_type {
    OPT_FLAG,   /* bool * */
    OPT_INT,    /* int64_t *; accepts 10, 1e6, 4k/4K (1000s), 2M, 1G */
    OPT_REAL,   /* double *; finite; accepts 0.5, 2e-4, and the same letters */
    OPT_STR,    /* const char **; points into argv */
    OPT_LIST,   /* const char *[max + 1], NULL-terminated: may be given up to `max` times */
    OPT_CHOICE, /* int *: index into `meta`, names separated by '|'; a default below 0 is none of them */
};

struct opt {
    const char *name; /* without dashes; NULL ends the table */
    enum opt_type type;
    void *target;
    const char *meta; /* shown as the value's name */
    const char *help;
    bool required;
    double min, max; /* numbers: inclusive bounds; both 0: none; max < min: no upper one */
};

struct command { /* one subcommand: what `mdm help` and `mdm NAME --help` print */
    const char *name;
    const char *summary;               /* one line */
    const char *operands;              /* e.g. "FILE..."; NULL when there are none */
    const char *example;               /* one or more shell lines, each shown indented */
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand's name; returns the exit status */
    const char *details;               /* lines of help between usage and options; NULL: none */
    bool ranks;                        /* may be started as several processes (comm/comm.h) */
};

enum { OPT_ROWS = 128 }; /* the most options that a table may have */
struct opt_given {       /* which options of a table the command line named */
    const struct opt *opts;
    bool row[OPT_ROWS];
    bool implied[OPT_ROWS]; /* by opt_imply(), */
    bool kept[OPT_ROWS];    /* to be the default */
};

/* Parse argv[1..argc). Operands are moved to argv[1..*noperands]. Returns 0; 1 after help was printed to stdout;
 * -1 with err. `given` (may be NULL) is filled for opt_given(). */
int opt_parse(const struct command *cmd, const struct opt *opts, int argc, char **argv, int *noperands,
              struct opt_given *given, struct err *err);
/* Was --name (or --no-name) on the command line? A name that is not in the table is our mistake. */
bool opt_given(const struct opt_given *given, const char *name);
/* --name VALUE, as if the command line had said it; where it has said something of that option, that stays.
 * A value of NULL: the default. */
int opt_imply(struct opt_given *given, const char *name, const char *value, struct err *err);
bool opt_implied(const struct opt_given *given, const char *name); /* given, but only so */
bool opt_kept(const struct opt_given *given, const char *name);    /* and its value is the default */
/* Parse one value as the option's type would (run.json uses the same rules). */
int opt_set(const struct opt *o, const char *value, struct err *err);
/* What --help prints; and in other forms, for `make install`: a manual page (--help=man), and what the completion of a
 * shell may offer after a command (--help=words): cases of a bash `case`, see main.c. */
enum opt_form { OPT_HELP, OPT_MAN, OPT_WORDS, OPT_FORMS };
void opt_help(const struct command *cmd, const struct opt *opts, enum opt_form form);
/* The names of a table's rows of `size` bytes, each of which begins with its name, with '|' between, as OPT_CHOICE has them; a NULL
 * name ends the table. Returns out. */
enum { OPT_NAMES = 256 };
const char *opt_names(char out[OPT_NAMES], const void *rows, size_t size);
/* The nearest of `n` names to `word` (Damerau-Levenshtein distance at most 1/3 of its length, at least 1..2), or NULL. */
const char *opt_nearest(const char *word, const char *const *names, int n);

#endif
