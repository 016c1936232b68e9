/* params: the one table of a model's parameters. Names, shapes, offsets in the flat buffer, initialisation and file
 * names of other projects all come from here; nothing else lists parameters. */
#ifndef MDM_MODEL_PARAMS_H
#define MDM_MODEL_PARAMS_H
#include <stdint.h>
#include "model/config.h"

enum param_role { /* order within a layer is the order in the flat buffer */
                  PARAM_WTE,
                  PARAM_NORM_1,
                  PARAM_ATTN,
                  PARAM_PROJ,
                  PARAM_NORM_2,
                  PARAM_W1,
                  PARAM_W2,
                  PARAM_W3,
                  PARAM_LN_F,
                  PARAM_HEAD
};
struct param {
    char name[80]; /* published name */
    enum param_role role;
    int layer;          /* -1 outside layers */
    int64_t rows, cols; /* [rows, cols]; vectors, and they alone, have cols 1 */
    int64_t
        offset; /* in floats, in the flat buffer; every offset is a multiple of 16; a tied head has the embedding's */
    double init_std; /* 0: ones */
};
struct params {
    struct param *v;
    int count;
    int64_t total; /* floats of the flat buffer, alignment gaps included (gaps hold zeros) */
};
int params_init(struct params *p, const struct config *c, struct err *err);
void params_free(struct params *p);
/* Index of a role in the table (layer -1 outside layers). */
int params_index(const struct params *p, const struct config *c, enum param_role role, int layer);
/* Fresh weights into the flat buffer: SPEC §1, a function of the seed alone. */
void params_random(float *flat, const struct params *p, uint64_t seed);

#endif
