/* Fuzz target: readers of text and jsonl, packed or not. The first byte chooses settings, the rest is the file. */
#include "fuzz_file.h"

#include "base/err.h"
#include "data/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const skip[] = {"meta.set=code", "n=1", NULL};
    static const struct reader_settings settings[4] = {
        {0}, {.separator = "<|end|>"}, {.text_field = "a.b", .skip = skip}, {.separator = "\n", .skip = skip}};
    if (size == 0) return 0;
    struct err err = {0};
    struct document doc;
    struct reader *r = reader_open(fuzz_file(data + 1, size - 1), &settings[data[0] % 4], &err);
    int64_t bytes = 0;
    unsigned char sum = 0;
    while (r && bytes < (4 << 20) && reader_next(r, &doc, &err) > 0) {
        for (int64_t i = 0; i < doc.n; i++) sum ^= (unsigned char)doc.text[i];
        bytes += doc.n + 1;
    }
    reader_close(r);
    return sum == 0 && bytes < 0; /* 0: the sum is there to have every byte read */
}
