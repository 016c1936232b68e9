/* Fuzz target: chunk files. Whatever opens must be readable from end to end, with ids checked. */
#include "fuzz_file.h"

#include "base/err.h"
#include "data/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    struct chunk c;
    const char *path = fuzz_file(data, size);
    if (chunk_open(&c, path, &err) < 0) return 0;
    int32_t ids[100];
    for (int64_t i = 0; i < c.tokens; i += 100)
        chunk_read(&c, i, c.tokens - i < 100 ? c.tokens - i : 100, ids, 1000, path, &err);
    chunk_close(&c);
    return 0;
}
