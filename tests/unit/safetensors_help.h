/* safetensors_help: files of any tensors, as other programs write them. */
#ifndef MDM_TESTS_SAFETENSORS_HELP_H
#define MDM_TESTS_SAFETENSORS_HELP_H
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/safetensors.h"

static int put_safetensors(const char *path, const struct st_tensor *v, int count, const char *const *metadata,
                           struct err *err) {
    size_t size;
    char *header = safetensors_header(v, count, metadata, &size, err);
    struct file_out *out = header ? file_out_open(path, err) : NULL;
    int status = out ? file_out_write(out, header, size, err) : -1;
    for (int i = 0; i < count && status == 0; i++) status = file_out_write(out, v[i].data, v[i].bytes, err);
    mem_free(header);
    if (status == 0) return file_out_commit(out, err);
    file_out_abort(out);
    return -1;
}

#endif
