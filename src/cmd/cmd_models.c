/* cmd_models: prints the table of named models with their exact parameter counts. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "model/params.h"

enum { BOTH = 2 };

/* 1234567 → "1,234,567". */
static void with_commas(char out[32], int64_t n) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n), k = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) out[k++] = ',';
        out[k++] = digits[i];
    }
    out[k] = '\0';
}

/* The configurations of row i, per family. */
static int describe(struct config c[2], int i, int64_t vocab, struct err *err) {
    char name[16];
    snprintf(name, sizeof name, "%d", named_models[i].name);
    for (int f = 0; f < 2; f++)
        if (config_named(&c[f], name, (enum family)f, vocab, err) < 0) return -1;
    return 0;
}

static void print_head(int64_t padded, int family) {
    printf("vocabulary padded to %" PRId64 ", length 2048; N: parameters without embedding and head\n\n", padded);
    printf("%-6s %3s %3s %5s %5s %14s", "name", "L", "H", "E", "F", "N");
    for (int f = 0; f < 2; f++)
        if (family == BOTH || family == f) printf(" %11s in all", family_names[f]);
    printf("\n");
}

static void print_row(const struct config c[2], int name, int family) {
    char count[32];
    with_commas(count, params_body(&c[0]));
    printf("%-6d %3" PRId64 " %3" PRId64 " %5" PRId64 " %5" PRId64 " %14s", name, c->n_layer, c->n_head, c->n_embd,
           c->intermediate_size, count);
    for (int f = 0; f < 2; f++) {
        if (family != BOTH && family != f) continue;
        with_commas(count, params_all(&c[f]));
        printf(" %18s", count);
    }
    printf("\n");
}

static json_t *row_json(const struct config c[2], int name, int family) {
    json_t *total = json_object();
    int bad = 0;
    for (int f = 0; f < 2; f++)
        if (family == BOTH || family == f)
            bad |= json_object_set_new(total, family_names[f], json_integer(params_all(&c[f])));
    if (bad) {
        json_decref(total);
        return NULL;
    }
    return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "name", name, "n_layer", (json_int_t)c->n_layer,
                     "n_head", (json_int_t)c->n_head, "n_embd", (json_int_t)c->n_embd, "intermediate_size",
                     (json_int_t)c->intermediate_size, "padded_vocab_size", (json_int_t)c->padded_vocab_size, "N",
                     (json_int_t)params_body(c), "parameters", total);
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    int64_t vocab = 32000;
    int family = BOTH, noperands, status;
    bool json = false;
    const struct opt opts[] = {
        {"vocab", OPT_INT, &vocab, "N", "vocabulary size, padded to a multiple of 64", .min = 1, .max = 1 << 24},
        {"family", OPT_CHOICE, &family, "mdm|arm|both", "which totals to show"},
        {"json", OPT_FLAG, &json, NULL, "a JSON array instead of a table"},
        {0}};
    if (!cmd_options(&cmd_models, opts, argc, argv, &noperands, NULL, &status)) return status;
    json_t *list = json ? json_array() : NULL;
    for (int i = 0; i < named_models_count; i++) {
        struct config c[2];
        if (describe(c, i, vocab, &err) < 0) break;
        if (!json && i == 0) print_head(c->padded_vocab_size, family);
        if (!json) print_row(c, named_models[i].name, family);
        if (json && json_array_append_new(list, row_json(c, named_models[i].name, family)) < 0)
            err_set(&err, "out of memory for the list");
    }
    if (json && !err.msg[0] && (json_dumpf(list, stdout, JSON_INDENT(1)) < 0 || putchar('\n') == EOF))
        err_set(&err, "cannot write standard output");
    json_decref(list);
    return err.msg[0] ? cmd_fail("models", &err) : 0;
}

const struct command cmd_models = {"models", "list the named models and their exact sizes", NULL,
                                   "mdm models\nmdm models --vocab 8192 --family mdm", run};
