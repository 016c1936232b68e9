/* params: the one table of a model's parameters, made from its shape. Names, sizes, places in the flat buffer,
 * initialisation and the names in other projects' files (naming.h) hang on its rows; whatever plans, packs, counts, saves
 * or draws parameters walks them, and nothing else lists them.
 *
 * A part is what must be there at once to compute: 0 the embedding, 1 … L the layers, L + 1 the last norm and the head.
 * Its parameters follow one another in the table and in the flat buffer. */
#ifndef MDM_MODEL_PARAMS_H
#define MDM_MODEL_PARAMS_H
#include <stdint.h>
#include "model/config.h"

enum param_role {
    PARAM_WTE,
    PARAM_WPE, /* learned positions */
    PARAM_NORM_1,
    PARAM_ATTN,
    PARAM_PROJ,
    PARAM_NORM_2,
    PARAM_W1, /* swiglu: the gate */
    PARAM_W2,
    PARAM_W3,
    PARAM_LN_F,
    PARAM_HEAD,
    PARAM_ROLES
};
enum param_kind { PARAM_EMBEDDING, PARAM_NORM, PARAM_LINEAR };

struct param {
    char name[80]; /* published name */
    enum param_role role;
    enum param_kind kind;
    bool bias; /* of the row before it */
    int layer; /* -1 outside layers */
    int part;
    int64_t rows, cols; /* [rows, cols]; vectors, and they alone, have cols 1 */
    int64_t offset;     /* in floats, in the flat buffer; a multiple of 16; a tied head has the embedding's */
    double init_mean, init_std;
};
struct params {
    struct param *v;
    int count;
    int64_t total; /* floats of the flat buffer, alignment gaps included (gaps hold zeros) */
    int layers, layer_rows;
    int first[PARAM_ROLES][2]; /* row of a role in the first layer, or outside layers; [1]: of its bias; -1: none */
};
int params_init(struct params *p, const struct config *c, struct err *err);
void params_free(struct params *p);
/* Row of a role (layer -1 outside layers); of its bias. -1: this model has none. */
int params_index(const struct params *p, enum param_role role, int layer);
int params_bias(const struct params *p, enum param_role role, int layer);

struct param_part {
    int first, count;       /* rows of the table */
    int64_t offset, floats; /* of the flat buffer; a tied head's are the embedding's */
};
struct param_part params_part(const struct params *p, int part);
static inline int params_parts(const struct params *p) {
    return p->layers + 2;
}

/* Numbers in all, and N: without embedding and head (the budget's N). */
int64_t params_all(const struct config *c);
int64_t params_body(const struct config *c);
/* Fresh weights into the flat buffer (docs/model.md), a function of the seed alone; or elements [first, end) of it into
 * out. Gaps are left as they are. */
void params_random(float *flat, const struct params *p, uint64_t seed);
void params_random_range(float *out, const struct params *p, uint64_t seed, int64_t first, int64_t end);

#endif
