/* Fuzz target: Parquet files. Reads the rows, of all columns and then of some that the file's size chooses, up to a number
 * of rows and bytes. */
#include "fuzz_file.h"

#include <jansson.h>

#include "base/err.h"
#include "parquet/parquet.h"

static size_t bytes_in(const json_t *v) {
    size_t n = 1 + json_string_length(v), sum = 0;
    const char *text = json_string_value(v), *key;
    for (size_t i = 0; i < json_string_length(v); i++) sum += (unsigned char)text[i]; /* every byte is read */
    for (size_t i = 0; i < json_array_size(v); i++) n += bytes_in(json_array_get(v, i));
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)v, key, member) {
        n += bytes_in(member);
    }
    return n + (sum == 1);
}

static void read_rows(const char *path, const char *column, bool text, int64_t skip) {
    struct err err = {0};
    json_t *row;
    size_t bytes = 0;
    struct parquet *p = parquet_open(path, &err);
    int k = p ? 1 : -1;
    if (p && column && (parquet_want(p, column, text, NULL, &err) < 0 || parquet_skip(p, skip, &err) < 0)) k = -1;
    for (int i = 0; k > 0 && i < 5000 && bytes < (4 << 20) && (k = parquet_next(p, &row, &err)) > 0; i++) {
        bytes += bytes_in(row);
        json_decref(row);
    }
    parquet_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const columns[] = {"text", "list", "choices", "turns.role", "deep"};
    const char *path = fuzz_file(data, size);
    read_rows(path, NULL, false, 0);
    read_rows(path, columns[size % 5], size % 2, (int64_t)(size % 7));
    return 0;
}
