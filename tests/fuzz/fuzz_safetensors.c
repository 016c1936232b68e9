/* fuzz_safetensors: any bytes as a weight file: opened, every tensor read, and loaded as a model with a tiny config. */
#include "fuzz_file.h"

#include <string.h>

#include "base/err.h"
#include "model/weights.h"

static const char config[] =
    "{\"family\":\"mdm\",\"block_size\":2,\"vocab_size\":1,\"padded_vocab_size\":1,\"mask_id\":1,"
    "\"n_layer\":1,\"n_head\":1,\"n_embd\":2,\"intermediate_size\":2}";

static const char *config_file(void) {
    static char path[64];
    if (path[0]) return path;
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || write(fd, config, sizeof config - 1) != (ssize_t)sizeof config - 1) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static void use_tensors(const struct safetensors *s) {
    enum family family;
    for (int i = 0; i < s->count; i++) {
        const struct st_tensor *t = &s->v[i];
        const unsigned char *data = t->data;
        int64_t first;
        if (data < s->map.data || t->bytes > (size_t)(s->map.data + s->map.size - data)) abort();
        if (safetensors_nonfinite(t, &first) && first < 0) abort();
        if (!safetensors_find(s, t->name)) abort();
    }
    const struct weight_files one = {.v = (struct safetensors *)s, .count = 1, .tensors = s->count};
    weights_naming(&one);
    weights_match(&one, &family);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {{0}};
    struct safetensors s;
    struct weights w;
    float flat[256] = {0};
    const char *path = fuzz_file(data, size);
    if (safetensors_open(&s, path, &err) == 0) {
        use_tensors(&s);
        safetensors_close(&s);
    } else if (!err.msg[0]) {
        abort();
    }
    if (weights_load(&w, path, config_file(), FAMILY_ANY, &err) < 0) return 0;
    if (w.params.total > 256) abort();
    weights_copy_range(&w, flat, 0, w.params.total);
    weights_free(&w);
    return 0;
}
