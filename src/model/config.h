/* config: the shape of a model as data, and the table of the 30 named ones (docs/model.md).
 *
 * A shape is numbers and a few choices; the table of parameters (params.h) is made from it. Read from config.json: in
 * our own keys, or in those of another project (naming.h). */
#ifndef MDM_MODEL_CONFIG_H
#define MDM_MODEL_CONFIG_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

enum family { FAMILY_MDM, FAMILY_ARM, FAMILY_ANY }; /* ANY: a caller's "as the file says"; no config has it */
extern const char *const family_names[2];           /* "mdm", "arm" */

enum norm { NORM_RMS, NORM_LAYER };
enum positions { POSITIONS_ROTARY, POSITIONS_LEARNED };
enum mlp { MLP_SWIGLU, MLP_GELU }; /* gelu: its tanh form */

struct config {
    enum family family;        /* attention: mdm sees all positions, arm those up to its own */
    int64_t block_size;        /* longest sequence */
    int64_t vocab_size;        /* ids of text are below */
    int64_t padded_vocab_size; /* V: rows of the head */
    int64_t mask_id;           /* mdm: the embedding's row of the mask token; -1 for arm */
    int64_t n_layer, n_head, n_query_groups, n_embd, intermediate_size; /* L H G E F */
    int64_t bos_id, eos_id;                                             /* -1: unknown */
    double norm_eps;
    double rope_base;
    bool rope_bf16; /* rotary tables rounded to bfloat16 (published weights) */
    bool tied_head; /* the head is the embedding */
    bool
        mask_inside; /* mdm: the mask is one of the V rows (LLaDA); else the embedding has one row more than the head */
    bool shifted;    /* a row's logits are those of the token after it (Dream) */
    enum norm norm;  /* a layer norm has a bias */
    enum positions positions;
    enum mlp mlp;
    bool attn_bias, proj_bias, mlp_bias; /* which linears have one: q/k/v, attention's output, the MLP's */
};

/* The members of config.json beside "family". */
enum config_key {
    CONFIG_BLOCK_SIZE,
    CONFIG_VOCAB_SIZE,
    CONFIG_PADDED_VOCAB_SIZE,
    CONFIG_MASK_ID,
    CONFIG_N_LAYER,
    CONFIG_N_HEAD,
    CONFIG_N_QUERY_GROUPS,
    CONFIG_N_EMBD,
    CONFIG_INTERMEDIATE_SIZE,
    CONFIG_BOS_ID,
    CONFIG_EOS_ID,
    CONFIG_NORM_EPS,
    CONFIG_ROPE_BASE,
    CONFIG_ROPE_BF16,
    CONFIG_TIED_HEAD,
    CONFIG_MASK_INSIDE,
    CONFIG_SHIFTED,
    CONFIG_NORM,
    CONFIG_POSITIONS,
    CONFIG_MLP,
    CONFIG_ATTN_BIAS,
    CONFIG_PROJ_BIAS,
    CONFIG_MLP_BIAS,
    CONFIG_KEYS
};

struct named_model { /* N in millions is the name */
    int name, n_layer, n_head, n_embd, intermediate_size;
};
extern const struct named_model named_models[];
extern const int named_models_count;

/* A named model ("170") of a family with vocabulary `vocab` (32000 is the published one) padded to a multiple of 64,
 * block 2048. */
int config_named(struct config *c, const char *name, enum family family, int64_t vocab, struct err *err);
/* A config.json, or the folder of one, or `name` of a named model: a name is a name also where a file is called so.
 * family: of a named model, and where the file does not say; a config that says otherwise is the caller's to refuse. */
int config_load(struct config *c, const char *name_or_path, enum family family, int64_t vocab, struct err *err);
bool config_is_name(const char *name_or_path);
int config_from_json(struct config *c, const json_t *o, const char *where, struct err *err);
json_t *config_to_json(const struct config *c);
/* Every rule between the numbers (positive, H divides E, D even, G divides H, sizes below caps); one clear line. */
int config_check(const struct config *c, const char *where, struct err *err);
/* Do the ids of a tokenizer, which are below `vocab`, suit the model in `where`? */
int config_check_vocab(const struct config *c, int64_t vocab, const char *where, struct err *err);

static inline int64_t config_head_dim(const struct config *c) {
    return c->n_embd / c->n_head;
}
/* Ids that a sequence may hold are below. */
static inline int64_t config_embedding_rows(const struct config *c) {
    return c->padded_vocab_size + (c->family == FAMILY_MDM && !c->mask_inside);
}

#endif
