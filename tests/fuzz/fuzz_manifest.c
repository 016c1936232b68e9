/* Fuzz target: a folder whose manifest.json is any bytes; there are no chunk files. */
#include "fuzz_file.h"

#include "base/err.h"
#include "base/mem.h"
#include "data/chunkset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *folder = fuzz_folder("manifest.json", data, size);
    for (int split = SPLIT_TRAIN; split <= SPLIT_VALIDATION; split++) {
        struct err err = {{0}};
        struct chunkset set = {0};
        const int r = chunkset_open(&set, folder, (enum split)split, &err);
        if (r < 0 ? !err.msg[0] : set.n > 0) abort();
        if (r == 0) chunkset_free(&set);
        if (mem_in_use() != 0) abort();
    }
    return 0;
}
