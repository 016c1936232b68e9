/* Fuzz target: files cut into lines, pieces and elements of an array. The first byte chooses how. */
#include "fuzz_file.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const separators[] = {NULL, NULL, "<|end|>", NULL, "\n-\n"};
    static const enum records_end ends[] = {RECORDS_LINES, RECORDS_BLANK_LINES, RECORDS_SEPARATOR, RECORDS_ARRAY,
                                            RECORDS_SEPARATOR};
    struct err err = {{0}};
    struct record rec;
    const char *start;
    int64_t n, bytes = 0, number = 0;
    int r;
    if (size == 0) return 0;
    struct records *in = records_open(fuzz_file(data + 1, size - 1), &err);
    if (!in) return 0;
    if (records_peek(in, &start, &n, &err) == 0) {
        records_cut(in, ends[data[0] % 5], separators[data[0] % 5]);
        while ((r = records_next(in, &rec, &err)) > 0 && bytes < 4 << 20) {
            if (rec.number != number++ || rec.line < 1 || rec.n < 0) abort();
            for (int64_t i = 0; i < rec.n; i++) bytes += rec.data[i] == 'x';
            bytes += rec.n;
        }
        if (r < 0 && !err.msg[0]) abort();
    }
    records_close(in);
    if (mem_in_use() != 0) abort();
    return 0;
}
