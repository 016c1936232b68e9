/* safetensors: named tensors in one file: u64 header length, JSON header, data (docs/formats.md). Mapped for reading;
 * every offset, shape and size is checked before use; the header is capped at 100 MB. */
#ifndef MDM_MODEL_SAFETENSORS_H
#define MDM_MODEL_SAFETENSORS_H
#include <stddef.h>
#include <stdint.h>
#include "base/file.h"

struct err;

struct st_tensor {
    char *name;
    char dtype[8]; /* "F32", "BF16", "F16", "I32", "U8", … as in the file */
    int ndim;
    int64_t shape[8];
    const void *data; /* in the map */
    size_t bytes;
};
struct safetensors {
    struct file_map map;
    struct st_tensor *v; /* by place in the file */
    int count;
    struct st_tensor **by_name; /* [count] */
    char *metadata;             /* JSON text of __metadata__, or NULL */
};
int safetensors_open(struct safetensors *s, const char *path, struct err *err);
void safetensors_close(struct safetensors *s);
const struct st_tensor *safetensors_find(const struct safetensors *s, const char *name); /* NULL: not there */
/* How many values are infinite or not a number; *first is the index of the first. Integer types have none. */
int64_t safetensors_nonfinite(const struct st_tensor *t, int64_t *first);

/* What stands before the data of a file of these tensors, in the order given; v[i].data is not looked at. metadata: pairs
 * of key, value, NULL-terminated, or NULL. Padded with spaces, so that data begins at a multiple of 64 bytes. Caller
 * mem_free()s. */
char *safetensors_header(const struct st_tensor *v, int count, const char *const *metadata, size_t *size,
                         struct err *err);

#endif
