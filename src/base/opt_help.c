/* opt_help: a table of options as help, as a manual page, and as words for a shell's completion. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/opt.h"

enum { COLUMN = 30, WIDTH = 100 };

/* " (default 64)" and the like, or nothing. */
static void default_text(char *out, size_t size, const struct opt *o) {
    *out = '\0';
    if (o->required) {
        snprintf(out, size, " (required)");
    } else if (o->type == OPT_FLAG) {
        if (*(bool *)o->target) snprintf(out, size, " (on; --no-%s turns it off)", o->name);
    } else if (o->type == OPT_INT) {
        snprintf(out, size, " (default %lld)", (long long)*(int64_t *)o->target);
    } else if (o->type == OPT_REAL) {
        if (!isnan(*(double *)o->target)) snprintf(out, size, " (default %.6g)", *(double *)o->target);
    } else if (o->type == OPT_STR) {
        const char *s = *(const char **)o->target;
        if (s) snprintf(out, size, " (default %s)", s);
    } else if (o->type == OPT_LIST) {
        snprintf(out, size, " (may be given %d times)", (int)o->max);
    } else if (*(int *)o->target >= 0) {
        const char *s = o->meta;
        for (int i = *(int *)o->target; i > 0 && *s; i--) s += strcspn(s, "|") + 1;
        snprintf(out, size, " (default %.*s)", (int)strcspn(s, "|"), s);
    }
}

/* The words of a text from COLUMN to WIDTH, as many lines as they need; the cursor is at column `at`. */
static void print_wrapped(const char *text, int at) {
    printf("%*s", COLUMN - at, "");
    at = COLUMN;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > COLUMN && at + 1 + n > WIDTH) {
            printf("\n%*s", COLUMN, "");
            at = COLUMN;
        }
        at += printf("%s%.*s", at > COLUMN ? " " : "", n, text);
        text += n + strspn(text + n, " ");
    }
    printf("\n");
}

static void print_option(const struct opt *o) {
    bool value = o->type != OPT_FLAG;
    int at = printf("  --%s%s%s", o->name, value ? " " : "", value ? o->meta : "");
    if (at >= COLUMN - 1) {
        printf("\n");
        at = 0;
    }
    char text[1024];
    int n = snprintf(text, sizeof text / 2, "%s", o->help);
    BUG_ON(n >= (int)sizeof text / 2);
    default_text(text + n, sizeof text - (size_t)n, o);
    print_wrapped(text, at);
}

/* Lines of a text, each indented. */
static void print_indented(const char *text) {
    while (*text) {
        int n = (int)strcspn(text, "\n");
        printf("  %.*s\n", n, text);
        text += n + (text[n] == '\n');
    }
}

static void help(const struct command *cmd, const struct opt *opts) {
    printf("mdm %s: %s\n\nUsage: mdm %s%s%s%s\n", cmd->name, cmd->summary, cmd->name, opts->name ? " [options]" : "",
           cmd->operands ? " " : "", cmd->operands ? cmd->operands : "");
    if (cmd->details) printf("\n%s\n", cmd->details);
    if (opts->name) printf("\nOptions:\n");
    for (; opts->name; opts++) print_option(opts);
    if (cmd->example) {
        printf("\nExample:\n");
        print_indented(cmd->example);
    }
}

/* ---- a manual page ---- */

/* Text for troff: its own characters, and a dot or quote that starts a line, stand for themselves. */
static void troff(const char *text) {
    bool start = true;
    for (; *text; text++) {
        if (start && strchr(".'", *text)) fputs("\\&", stdout);
        start = *text == '\n';
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

/* "tokenizer train" as the name of a page: tokenizer-train. */
static void page_name(const char *name) {
    for (; *name; name++) fputs(*name == ' ' || *name == '-' ? "\\-" : (char[]){*name, 0}, stdout);
}

static void man_option(const struct opt *o) {
    char text[512];
    printf(".TP\n\\fB\\-\\-");
    troff(o->name);
    printf("\\fR");
    if (o->type != OPT_FLAG) {
        printf(" \\fI");
        troff(o->meta);
        printf("\\fR");
    }
    putchar('\n');
    default_text(text, sizeof text, o);
    troff(o->help);
    troff(text);
    putchar('\n');
}

static void man(const struct command *cmd, const struct opt *opts) {
    printf(".TH \"mdm\\-");
    page_name(cmd->name);
    printf("\" 1 \"\" mdm \"User Commands\"\n.SH NAME\nmdm\\-");
    page_name(cmd->name);
    printf(" \\- ");
    troff(cmd->summary);
    printf("\n.SH SYNOPSIS\n\\fBmdm ");
    troff(cmd->name);
    printf("\\fR%s ", opts->name ? " [options]" : "");
    if (cmd->operands) troff(cmd->operands);
    printf("\n");
    if (cmd->details) {
        printf(".SH DESCRIPTION\n.nf\n");
        troff(cmd->details);
        printf("\n.fi\n");
    }
    if (opts->name) printf(".SH OPTIONS\n");
    for (; opts->name; opts++) man_option(opts);
    if (cmd->example) {
        printf(".SH EXAMPLE\n.nf\n");
        troff(cmd->example);
        printf("\n.fi\n");
    }
    printf(".SH EXIT STATUS\n0 done; 1 a training that diverged; 2 an error, told in one line on standard error; 128 + "
           "N ended by signal N\n"
           ".SH SEE ALSO\n\\fBmdm\\fR(1)\n");
}

/* ---- completion ---- */

/* "COMMAND --option") the words that the option takes, if it takes one of several; "COMMAND") the words that may come
 * next: those of an operand such as train|encode, and all options. */
static void words(const struct command *cmd, const struct opt *opts) {
    for (const struct opt *o = opts; o->name; o++) {
        if (o->type == OPT_FLAG) continue;
        printf("    \"%s --%s\") words='", cmd->name, o->name);
        for (const char *s = o->type == OPT_CHOICE ? o->meta : ""; *s; s++) putchar(*s == '|' ? ' ' : *s);
        printf("' ;;\n");
    }
    printf("    \"%s\") words='", cmd->name);
    for (const char *s = cmd->operands ? cmd->operands : ""; (*s >= 'a' && *s <= 'z') || *s == '|'; s++)
        putchar(*s == '|' ? ' ' : *s);
    for (const struct opt *o = opts; o->name; o++) printf(" --%s", o->name);
    printf(" --help' ;;\n");
}

void opt_help(const struct command *cmd, const struct opt *opts, enum opt_form form) {
    static void (*const print[OPT_FORMS])(const struct command *, const struct opt *) = {help, man, words};
    print[form](cmd, opts);
}
