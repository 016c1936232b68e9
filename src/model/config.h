/* config: the shape of a model, and the table of the 30 named ones (SPEC §1).
 *
 * Read from config.json: our own keys (those of the golden cases: n_layer, n_embd, …, "family") or Hugging Face's of
 * the Llama architecture (hidden_size, num_hidden_layers, …). */
#ifndef MDM_MODEL_CONFIG_H
#define MDM_MODEL_CONFIG_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

enum family { FAMILY_MDM, FAMILY_ARM };
extern const char *const family_names[2]; /* "mdm", "arm" */

struct config {
    enum family family;
    int64_t block_size;        /* longest sequence */
    int64_t vocab_size;        /* ids of text are below */
    int64_t padded_vocab_size; /* V: rows of the head */
    int64_t mask_id;           /* mdm: the embedding's row of the mask token; -1 for arm */
    int64_t n_layer, n_head, n_query_groups, n_embd, intermediate_size; /* L H G E F */
    double norm_eps;
    double rope_base;
    bool rope_bf16;         /* rotary tables rounded to bfloat16 (published weights) */
    bool tied_head;         /* head shares the embedding's memory: files of other projects only */
    int64_t bos_id, eos_id; /* -1: unknown */
};

struct named_model { /* N in millions is the name */
    int name, n_layer, n_head, n_embd, intermediate_size;
};
extern const struct named_model named_models[];
extern const int named_models_count;

/* A named model ("170") of a family with vocabulary `vocab` (32000 is the published one) padded to a multiple of 64,
 * block 2048. */
int config_named(struct config *c, const char *name, enum family family, int64_t vocab, struct err *err);
/* A config.json, or `name` of a named model when no such file exists. family: used when the file does not say, or for a
 * name. */
int config_load(struct config *c, const char *name_or_path, enum family family, int64_t vocab, struct err *err);
int config_from_json(struct config *c, const json_t *o, const char *where, struct err *err);
json_t *config_to_json(const struct config *c);
/* Every rule between the numbers (positive, H divides E, D even, G divides H, sizes below caps); one clear line. */
int config_check(const struct config *c, const char *where, struct err *err);

static inline int64_t config_head_dim(const struct config *c) {
    return c->n_embd / c->n_head;
}
int64_t config_params(const struct config *c);      /* all */
int64_t config_params_body(const struct config *c); /* N: without embedding and head; the FLOPs budget's N */

#endif
