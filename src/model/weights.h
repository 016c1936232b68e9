/* weights: a model's parameters, from files (mapped, not copied) or in a flat f32 buffer (training).
 *
 *     struct weights w;
 *     weights_load(&w, "run/model.safetensors", NULL, FAMILY_ANY, &err);   // the config beside it
 *
 * Published names, the weights inside a checkpoint, and those of other projects (naming.h) load; f32, bf16, f16. Names,
 * shapes and types are checked against the table of parameters; a tensor that has no place in the model is an error.
 * What the network needs in another form is built once: fused q/k/v from separate ones, transposed linears, norms and
 * biases in f32, f16 widened to f32, data that the file does not align to its type. */
#ifndef MDM_MODEL_WEIGHTS_H
#define MDM_MODEL_WEIGHTS_H
#include <stdbool.h>
#include "compute/kernels.h"
#include "model/config.h"
#include "model/params.h"
#include "model/weight_files.h"

struct weight {
    const void *data; /* rows*cols elements of `type` */
    enum dtype type;  /* f32 of vectors; a tied head has the embedding's data */
};
struct weights {
    struct config config;
    struct params params;
    struct weight *v;          /* one per row of params */
    struct weight_files files; /* mapped, when loaded */
    void **owned;              /* tensors built at load time */
    int owned_count;
    float *flat; /* borrowed: training's flat buffer, NULL when loaded */
};

/* path: as weight_files_open() takes it. model: a name or config.json, NULL to use the config.json beside the file, or
 * without one the named model that has these shapes. family: what the model must be; FAMILY_ANY: what the config says or
 * the embedding's rows show. */
int weights_load(struct weights *w, const char *path, const char *model, enum family family, struct err *err);
/* Views into a flat buffer (borrowed); of NULL: to be filled in. */
int weights_flat(struct weights *w, const struct config *c, float *flat, struct err *err);
void weights_free(struct weights *w);
/* Elements [first, end) of the flat buffer of all parameters, as f32, into out: training starts from loaded weights. */
void weights_copy_range(const struct weights *w, float *out, int64_t first, int64_t end);
/* How files name their tensors ("published", "checkpoint", "GPT-2", …); NULL: they hold no model. */
const char *weights_naming(const struct weight_files *files);
/* The named model whose layers, width and MLP width the files have, and the family that their embedding shows; NULL when
 * there is none (always for other projects' names). */
const struct named_model *weights_match(const struct weight_files *files, enum family *family);
/* Folder or file → folder that may hold config.json and the tokenizer (out: FILE_PATH_MAX bytes). */
int weights_folder(char *out, const char *path, struct err *err);

#endif
