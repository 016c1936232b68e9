/* Fuzz target: a folder whose model.safetensors.index.json is any bytes, beside two files of one tensor each. */
#include "fuzz_file.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/weight_files.h"

static void put_piece(const char *name, const char *tensor) {
    char piece[128] = {0};
    const int n = snprintf(piece + 8, sizeof piece - 8,
                           "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", tensor);
    piece[0] = (char)n;
    fuzz_folder(name, (const uint8_t *)piece, 8 + (size_t)n + 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[4200];
    struct err err = {{0}};
    struct weight_files f;
    put_piece("a.safetensors", "w");
    put_piece("b.safetensors", "b");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json",
             fuzz_folder("model.safetensors.index.json", data, size));
    if (weight_files_open(&f, path, &err) == 0) {
        if (f.count < 1 || f.count > 2 || f.tensors != f.count) abort();
        weight_files_close(&f);
    } else if (!err.msg[0]) {
        abort();
    }
    if (mem_in_use() != 0) abort();
    return 0;
}
