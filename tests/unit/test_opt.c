/* Options: every type, bounds, near misses, operands, help text; a parse that fails says which option and why. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/opt.h"

static struct {
    bool show, fast;
    int64_t steps, seed;
    double lr;
    const char *out, *name;
    int sampler;
} a;

static const struct opt opts[] = {
    {"show", OPT_FLAG, &a.show, NULL, "draw the unmasking live"},
    {"fast", OPT_FLAG, &a.fast, NULL, "skip the checks"},
    {"steps", OPT_INT, &a.steps, "N", "sampling steps", .min = 1, .max = 1e6},
    {"seed", OPT_INT, &a.seed, "N", "seed"},
    {"lr", OPT_REAL, &a.lr, "X", "learning rate", .min = 1e-9},
    {"out", OPT_STR, &a.out, "DIR", "folder to write", .required = true},
    {"name", OPT_STR, &a.name, "NAME",
     "what to call it; it may be as long as you like, in words of your own choosing, wide as the sky"},
    {"sampler", OPT_CHOICE, &a.sampler, "ancestral|confidence|margin", "how positions are chosen"},
    {0},
};
enum { ROWS = sizeof opts / sizeof *opts - 1 };

static const struct command files_command = {"try", "try things", "FILE...", "mdm try --out x\nmdm try --out y", NULL};
static const struct command bare_command = {"bare", "takes no files", NULL, NULL, NULL};

static int reset(void **state) {
    (void)state;
    memset(&a, 0, sizeof a);
    a.fast = true;
    a.steps = 64;
    a.lr = 2e-4;
    a.sampler = 1;
    return 0;
}

static struct err err;
static char *words[32];
static int nwords, noperands;
static struct opt_given given;

/* Parse "a b c" split at single blanks. */
static int parse(const char *line) {
    static char text[4096];
    snprintf(text, sizeof text, "try %s", line);
    nwords = 0;
    for (char *w = strtok(text, " "); w; w = strtok(NULL, " ")) words[nwords++] = w;
    words[nwords] = NULL;
    memset(&err, 0, sizeof err);
    return opt_parse(&files_command, opts, nwords, words, &noperands, &given, &err);
}

static void assert_refused(const char *line, const char *message) {
    reset(NULL);
    assert_int_equal(parse(line), -1);
    if (!strstr(err.msg, message)) fail_msg("%s: '%s' does not say '%s'", line, err.msg, message);
}

static void test_forms(void **state) {
    (void)state;
    assert_int_equal(parse("--out x --steps=5 one --lr 1e-3 --show --no-fast - two --sampler margin -- --steps -x"), 0);
    assert_string_equal(a.out, "x");
    assert_int_equal(a.steps, 5);
    assert_float_equal(a.lr, 1e-3, 0);
    assert_true(a.show);
    assert_false(a.fast);
    assert_int_equal(a.sampler, 2);
    assert_null(a.name);
    assert_int_equal(noperands, 5);
    const char *const operands[] = {"one", "-", "two", "--steps", "-x"};
    for (int i = 0; i < 5; i++) assert_string_equal(words[1 + i], operands[i]);
    const bool want[ROWS] = {true, true, true, false, true, true, false, true};
    for (int i = 0; i < ROWS; i++) assert_int_equal(opt_given(&given, opts[i].name), want[i]);
    assert_int_equal(parse("--out x --lr 1"), 0); /* nothing is left of the line before */
    assert_true(opt_given(&given, "lr") && opt_given(&given, "out"));
    assert_false(opt_given(&given, "steps") || opt_given(&given, "show") || opt_given(&given, "sampler"));
}

static void test_defaults_stay(void **state) {
    (void)state;
    assert_int_equal(parse("--out=--odd=name--"), 0);
    assert_string_equal(a.out, "--odd=name--");
    assert_int_equal(a.steps, 64);
    assert_int_equal(a.sampler, 1);
    assert_true(a.fast);
    assert_int_equal(noperands, 0);
    assert_int_equal(parse("--out= --steps 1 --steps 2"), 0); /* the last one counts; an empty string is a string */
    assert_string_equal(a.out, "");
    assert_int_equal(a.steps, 2);
}

static void test_integers(void **state) {
    (void)state;
    const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"-7", -7},
        {"+7", 7},
        {"1e6", 1000000},
        {"4k", 4000},
        {"4K", 4000},
        {"2M", 2000000},
        {"1G", 1000000000},
        {"1.5k", 1500},
        {"1.1k", 1100},
        {"1.001k", 1001}, /* 1000.9999999999999 in binary fractions */
        {"0.001k", 1},
        {"2.5e3", 2500},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"9007199254740993", 9007199254740993},
    };
    const char *const bad[] = {
        "",    " 1",  "1 ",   "x",   "1x", "1.5",     "1kk", "k",     "1e",    "0x10",
        "inf", "nan", "1e30", "0.5", "1T", "1.0005k", "--1", "1,000", "1_000", "9223372036854775808"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (opt_set(&opts[3], good[i].text, &err) < 0) fail_msg("%s: %s", good[i].text, err.msg);
        assert_int_equal(a.seed, good[i].value);
    }
    a.seed = 5;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (opt_set(&opts[3], bad[i], &err) == 0) fail_msg("'%s' was read as %lld", bad[i], (long long)a.seed);
        assert_int_equal(a.seed, 5);
        assert_non_null(strstr(err.msg, "--seed"));
    }
}

static void test_reals(void **state) {
    (void)state;
    const char *const bad[] = {"",    " 1",     "x",   "1x", "inf", "-inf", "nan", "1e999",
                               "1,5", "1e308G", "1kk", "k",  "1m",  "0x10", "1 k"};
    const struct {
        const char *text;
        double value;
    } good[] = {{"3", 3}, {"2M", 2e6}, {"1.1k", 1100}, {"4K", 4000}, {"0.5G", 5e8}, {"1e3k", 1e6}, {"2.5E-4", 2.5e-4}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (opt_set(&opts[4], good[i].text, &err) < 0) fail_msg("'%s': %s", good[i].text, err.msg);
        assert_float_equal(a.lr, good[i].value, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (opt_set(&opts[4], bad[i], &err) == 0) fail_msg("'%s' was read as %g", bad[i], a.lr);
    assert_float_equal(a.lr, 2.5e-4, 0);
}

static void test_bounds(void **state) {
    (void)state;
    assert_int_equal(opt_set(&opts[2], "1", &err), 0);
    assert_int_equal(opt_set(&opts[2], "1e6", &err), 0);
    assert_refused("--out x --steps 0", "--steps must be between 1 and 1000000, found '0'");
    assert_refused("--out x --steps 1000001", "--steps must be between 1 and 1000000, found '1000001'");
    assert_refused("--out x --lr 0", "--lr must be at least 1e-09, found '0'"); /* a lower bound alone */
    const struct opt large = {"seed", OPT_INT, &(int64_t){0}, "N", "", .max = 0x1p53};
    assert_int_equal(opt_set(&large, "-1", &err), -1);
    assert_string_equal(err.msg, "--seed must be between 0 and 9007199254740992, found '-1'");
    assert_int_equal(a.steps, 64);
    assert_int_equal(opt_set(&opts[4], "1e9", &err), 0);
}

static void test_flags_and_choices(void **state) {
    (void)state;
    assert_int_equal(opt_set(&opts[0], "true", &err), 0);
    assert_true(a.show);
    assert_int_equal(opt_set(&opts[0], "0", &err), 0);
    assert_false(a.show);
    assert_int_equal(opt_set(&opts[0], "yes", &err), -1);
    const char *const bad[] = {"", "margi", "margins", "ancestral|confidence", "|", "Margin"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(opt_set(&opts[7], bad[i], &err), -1);
    assert_int_equal(a.sampler, 1);
    assert_int_equal(opt_set(&opts[7], "ancestral", &err), 0);
    assert_int_equal(a.sampler, 0);
    assert_refused("--out x --sampler best", "--sampler must be one of ancestral|confidence|margin, found 'best'");
    assert_refused("--out x --show=yes", "--show takes no value, found 'yes'");
}

static void test_refusals(void **state) {
    (void)state;
    assert_refused("", "--out DIR is required (folder to write)");
    assert_refused("--out x --setps 3", "unknown option '--setps'; did you mean '--steps'?");
    assert_refused("--out x --setps=3", "did you mean '--steps'?");
    assert_refused("--out x --no-fats", "did you mean '--no-fast'?");
    assert_refused("--out x --no-steps", "unknown option '--no-steps'"); /* only flags can be turned off */
    assert_refused("--out x --wholly-unlike", "unknown option '--wholly-unlike'; 'mdm try --help' lists them");
    assert_refused("--out x -s", "unknown option '-s'");
    assert_refused("--out x -steps 3", "did you mean '--steps'?");
    assert_refused("--out x --=3", "unknown option '--=3'");
    assert_refused("--out x --steps", "--steps needs a value: --steps N");
    assert_refused("--out --steps 3", "--out needs a value: --out DIR");
    assert_refused("--out x --steps=", "--steps needs a value");
    char *argv[] = {"bare", "--out", "x", "file", NULL};
    assert_int_equal(opt_parse(&bare_command, opts, 4, argv, &noperands, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "unexpected 'file'"));
    char *lone[] = {"bare", NULL};
    const struct opt none[] = {{0}};
    assert_int_equal(opt_parse(&bare_command, none, 1, lone, &noperands, NULL, &err), 0);
}

/* What the help prints. */
static char *captured(const char *line, int want) {
    static char text[8192];
    FILE *f = tmpfile();
    assert_non_null(f);
    int fd = fileno(f), saved = dup(STDOUT_FILENO);
    assert_true(saved >= 0);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    int r = parse(line);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    fclose(f);
    close(saved);
    assert_int_equal(r, want);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void test_help(void **state) {
    (void)state;
    /* Asked anywhere, and the defaults are those before the line was read. */
    char *text = captured("--steps 3 --unknown --help", 1);
    const char *const parts[] = {
        "mdm try: try things\n",
        "Usage: mdm try [options] FILE...\n",
        "\n  --show                      draw the unmasking live\n",
        "\n  --fast                      skip the checks (on; --no-fast turns it off)\n",
        "\n  --steps N                   sampling steps (default 64)\n",
        "\n  --lr X                      learning rate (default 0.0002)\n",
        "\n  --out DIR                   folder to write (required)\n",
        "\n  --name NAME                 what to call it; it may be as long as you like, in words of your own\n",
        "\n                              choosing, wide as the sky\n",
        "\n  --sampler ancestral|confidence|margin\n",
        "margin\n                              how positions are chosen (default confidence)\n",
        "\nExample:\n  mdm try --out x\n  mdm try --out y\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("the help lacks '%s':\n%s", parts[i], text);
    assert_int_equal(a.steps, 64);
    assert_non_null(strstr(captured("-h", 1), "Usage: mdm try"));
    assert_string_equal(captured("--out x -- --help", 0), ""); /* an operand here */
    assert_int_equal(noperands, 1);
}

static void test_nearest(void **state) {
    (void)state;
    const char *const names[] = {"generate", "score", "plot", "prepare", "pretrain", "lr", "a"};
    const struct {
        const char *word, *near;
    } cases[] = {
        {"genrate", "generate"},
        {"generaet", "generate"},
        {"gnerate", "generate"},
        {"scroe", "score"},
        {"store", "score"},
        {"polt", "plot"},
        {"prepar", "prepare"},
        {"rl", "lr"},
        {"l", NULL},
        {"train", NULL},
        {"xyz", NULL},
        {"", NULL},
        {"pretran", "pretrain"},
        {"generate", "generate"},
        {"q", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *near = opt_nearest(cases[i].word, names, 7);
        if (near ? !cases[i].near || strcmp(near, cases[i].near) != 0 : cases[i].near != NULL)
            fail_msg("'%s' is near '%s', not '%s'", cases[i].word, cases[i].near, near);
    }
    assert_null(opt_nearest("score", names, 0));
    char long_word[200];
    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    assert_null(opt_nearest(long_word, names, 7));
}

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double more;
    } rows[] = {{"a", 1}, {"b c", 2}, {"d", 3}, {0}};
    static const char *const one[] = {"one", NULL}, *const none[] = {NULL};
    char out[OPT_NAMES] = "before";
    assert_string_equal(opt_names(out, rows, sizeof *rows), "a|b c|d");
    assert_string_equal(opt_names(out, one, sizeof *words), "one");
    assert_ptr_equal(opt_names(out, none, sizeof *none), out);
    assert_string_equal(out, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_forms, reset),    cmocka_unit_test_setup(test_defaults_stay, reset),
        cmocka_unit_test_setup(test_integers, reset), cmocka_unit_test_setup(test_reals, reset),
        cmocka_unit_test_setup(test_bounds, reset),   cmocka_unit_test_setup(test_flags_and_choices, reset),
        cmocka_unit_test_setup(test_refusals, reset), cmocka_unit_test_setup(test_help, reset),
        cmocka_unit_test_setup(test_nearest, reset),  cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
