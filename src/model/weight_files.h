/* weight_files: the safetensors files that hold one model: one, or several listed by a model.safetensors.index.json
 * (docs/formats.md). Mapped; tensors are looked up in all of them. What the tensors mean is weights.c's business. */
#ifndef MDM_MODEL_WEIGHT_FILES_H
#define MDM_MODEL_WEIGHT_FILES_H
#include <stdbool.h>
#include <stdint.h>
#include "model/safetensors.h"

struct weight_files {
    struct safetensors *v;
    int count, tensors; /* files; tensors in all of them */
};

/* path: a .safetensors file, an index, or a folder: of that its model.safetensors, else its
 * model.safetensors.index.json, else its only *.safetensors not called checkpoint-…, else its newest checkpoint, else its
 * only *.safetensors. */
int weight_files_open(struct weight_files *f, const char *path, struct err *err);
void weight_files_close(struct weight_files *f);
const struct st_tensor *weight_files_find(const struct weight_files *f, const char *name);
/* Tensor i of all, 0 <= i < tensors; and which i a tensor is. */
const struct st_tensor *weight_files_tensor(const struct weight_files *f, int i);
int weight_files_number(const struct weight_files *f, const struct st_tensor *t);
/* Is the file one of several that an index beside it lists? */
bool weight_files_is_piece(const char *path);
/* Is a file of a folder, by its name, a model's or an index? Not what is called as a checkpoint. */
bool weight_files_is_model(const char *name);
/* Among a folder's names[n] the newest checkpoint of a run whose step is below *step, which becomes its own: 12 of
 * "checkpoint-00000012.safetensors". NULL: there is none. Any other name is no checkpoint. */
const char *weight_files_checkpoint(char *const *names, int64_t n, int64_t *step);

#endif
