/* lm_options: the options by which a command names a model, as rows of its table.
 *
 *     struct lm_args m = LM_ARGS;
 *     const struct opt opts[] = {LM_OPTIONS(m), …, {0}};
 */
#ifndef MDM_CMD_LM_OPTIONS_H
#define MDM_CMD_LM_OPTIONS_H
#include "base/cpu.h"
#include "base/opt.h"
#include "model/lm.h"

#define LM_ARGS                                                                                                        \
    { .family = FAMILY_ANY, .precision = DTYPE_BF16 }
#define LM_OPTIONS(m)                                                                                                  \
    {"weights",       OPT_STR, &(m).weights, "FILE|RUN", "a .safetensors file, a run, or a Hugging Face folder",       \
     .required = true},                                                                                                \
        {"model", OPT_STR, &(m).name, "NAME|FILE",                                                                     \
         "named model (170, see 'mdm models') or config.json; else the one beside the weights"},                       \
        {"family", OPT_CHOICE, &(m).family, "mdm|arm|any", "of the model; one that contradicts it is refused"},        \
        {"tokenizer", OPT_STR, &(m).tokenizer, "PATH", "tokenizer file or folder; else the one beside the weights"},   \
        {"precision", OPT_CHOICE, &(m).precision, "f32|bf16", "of matrix products and activations"}, {                 \
        "threads", OPT_INT, &(m).threads, "N", "0: all cores; results do not depend on it", .min = 0,                  \
                                                                                            .max = CPU_THREADS         \
    }

/* Options (a NULL-terminated list) that are of no use with a model of this family must not have been given. */
int lm_options_unused(const struct opt_given *given, const char *const *names, const struct config *c, struct err *err);

#endif
