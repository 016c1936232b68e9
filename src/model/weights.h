/* weights: a model's parameters, from a file (mapped, not copied) or in a flat f32 buffer (training).
 *
 *     struct weights w;
 *     weights_load(&w, "run/model.safetensors", NULL, FAMILY_MDM, &err);    // config beside the file, or named by the
 * user
 *
 * Published names, Hugging Face's Llama names (a table maps them) and the weights inside a checkpoint load; bf16 and
 * f32. Names, shapes and types are checked against the config; a tensor that has no place in the model is an error.
 * Tensors that the network needs in another form are built once: fused q/k/v from separate ones, norms in f32, data
 * that the file does not align to its type. */
#ifndef MDM_MODEL_WEIGHTS_H
#define MDM_MODEL_WEIGHTS_H
#include <stdbool.h>
#include "compute/kernels.h"
#include "model/config.h"
#include "model/params.h"
#include "model/safetensors.h"

struct weights {
    struct config config;
    struct params params;
    struct weight {
        const void *data;    /* rows*cols elements of `type` */
        enum dtype type;     /* f32 for norms; a tied head has the embedding's data */
    } * v;                   /* one per row of params */
    struct safetensors file; /* mapped, when loaded */
    void **owned;            /* tensors built at load time */
    int owned_count;
    float *flat; /* borrowed: training's flat buffer, NULL when loaded */
};

/* path: a .safetensors file, or a folder (a run, or a Hugging Face model) holding model.safetensors and config.json.
 * model: a name or config.json, NULL to use the config.json beside the file, or without one the named model that has
 * these shapes. family: for names, and for files whose config does not say; when the embedding's row count shows
 * otherwise, an error says so. */
int weights_load(struct weights *w, const char *path, const char *model, enum family family, struct err *err);
/* Views into a flat buffer (borrowed). */
int weights_flat(struct weights *w, const struct config *c, float *flat, struct err *err);
void weights_free(struct weights *w);
/* All parameters as f32 into a flat buffer of params.total floats: training starts from loaded weights. */
void weights_copy(const struct weights *w, float *flat);
/* Write a flat buffer under the published names, f32 or bf16, atomically. */
int weights_save(const char *path, const struct params *p, const struct config *c, const float *flat, enum dtype type,
                 struct err *err);
/* How a file names its tensors ("published", "checkpoint", "Hugging Face Llama"); NULL: it holds no model. */
const char *weights_naming(const struct safetensors *file);
/* The named model whose layers, width and MLP width the file has, and the family that its embedding shows; NULL when
 * there is none (always for Hugging Face names). */
const struct named_model *weights_match(const struct safetensors *file, enum family *family);
/* The weight file that `path` means: itself, or of a folder model.safetensors, else its only *.safetensors, else its
 * newest checkpoint (out: FILE_PATH_MAX bytes). */
int weights_file(char *out, const char *path, struct err *err);
/* Folder or file → folder that may hold config.json and the tokenizer (out: FILE_PATH_MAX bytes). */
int weights_folder(char *out, const char *path, struct err *err);

#endif
