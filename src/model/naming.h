/* naming: how files spell a model: the keys of config.json, the names of tensors. Two tables; to read another project's
 * files is to add a row to each (CONTRIBUTING.md), and a case to tests/golden/peers. */
#ifndef MDM_MODEL_NAMING_H
#define MDM_MODEL_NAMING_H
#include "model/config.h"
#include "model/params.h"

/* config.json as one kind of model of another project has it. */
struct dialect {
    const char *model_type;       /* the file's own word for it */
    const char *key[CONFIG_KEYS]; /* its names of our keys; NULL: it has none */
    struct config shape;          /* what all such models are, and what an absent key means */
    int64_t mlp_ratio;            /* F/E where the file does not say F; 0: it must */
    /* Settings that would make another network of it: this value, null and absence are accepted. */
    struct {
        const char *key, *value;
    } fixed[12];
};
extern const struct dialect dialects[];
extern const int dialects_count;

/* Tensors of one project. */
struct naming {
    const char *name;     /* for messages */
    bool ours;            /* the table's own names behind `prefix`; the members below are not used */
    const char *prefix;   /* ours */
    const char *layer;    /* what a layer's names begin with, its number as %d */
    bool transposed;      /* linears in layers are stored [in, out] */
    const char *extra[2]; /* ends of names that hold no weights and are passed over */
    /* Per role, without .weight or .bias. Of PARAM_ATTN one tensor (queries, keys, values behind one another), or three. */
    const char *tensor[PARAM_ROLES][3];
};
extern const struct naming namings[];
extern const int namings_count;

enum { NAMING_BYTES = 160 };
/* How many tensors make up a parameter. */
int naming_pieces(const struct naming *n, const struct param *p);
/* The name of tensor `piece` of it. */
void naming_tensor(char out[NAMING_BYTES], const struct naming *n, const struct param *p, int piece);

#endif
