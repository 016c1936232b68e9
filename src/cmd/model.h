/* model: what the commands that run a model have in common: the options that name it, and opening it with its
 * tokenizer.
 *
 *     struct model_args m = MODEL_ARGS;
 *     const struct opt opts[] = {MODEL_OPTIONS(m), …, {0}};
 *     struct model model;
 *     if (model_open(&model, &m, true, &err) < 0) return cmd_fail(…);
 *     model_close(&model);
 */
#ifndef MDM_CMD_MODEL_H
#define MDM_CMD_MODEL_H
#include "base/cpu.h"
#include "base/opt.h"
#include "compute/rows.h"
#include "model/weights.h"

struct tokenizer;

struct model_args {
    const char *weights, *name, *tokenizer;
    int family, precision;
    int64_t threads;
};
#define MODEL_ARGS                                                                                                     \
    { .precision = 1, .threads = cpu_threads() }
#define MODEL_OPTIONS(m)                                                                                               \
    {"weights",       OPT_STR, &(m).weights, "FILE|RUN", "a .safetensors file, a run, or a Hugging Face folder",       \
     .required = true},                                                                                                \
        {"model", OPT_STR, &(m).name, "NAME|FILE",                                                                     \
         "named model (170, see 'mdm models') or config.json; else the one beside the weights"},                       \
        {"family", OPT_CHOICE, &(m).family, "mdm|arm", "of a named model, or where the config does not say"},          \
        {"tokenizer", OPT_STR, &(m).tokenizer, "PATH", "tokenizer file or folder; else the one beside the weights"},   \
        {"precision", OPT_CHOICE, &(m).precision, "f32|bf16", "of matrix products and activations"}, {                 \
        "threads", OPT_INT, &(m).threads, "N", "threads", .min = 1, .max = 1024                                        \
    }
enum { MODEL_OPTION_COUNT = 6 };

struct model {
    struct weights weights;
    struct tokenizer *tokenizer; /* NULL: none named, none found */
    enum dtype precision;
};

/* Starts compute/ too. tokenizer_needed: not finding one is an error. */
int model_open(struct model *m, const struct model_args *a, bool tokenizer_needed, struct err *err);
void model_close(struct model *m);

#endif
