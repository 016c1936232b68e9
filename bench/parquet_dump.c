/* parquet_dump: what the Parquet reader reads of a column of strings, for compare_parquet.py, and how fast.
 *
 *     parquet_dump FILE COLUMN          values: u8 1 and u32 length and bytes, or u8 0 for null
 *     parquet_dump --time FILE COLUMN   values, bytes of text and MB/s, in words
 *
 * Of lists and structs the values follow one another. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/progress.h"
#include "parquet/parquet.h"

struct count {
    int64_t values, bytes;
};

/* All that a row holds. -1: cannot write. */
static int take(json_t *v, bool timed, struct count *c) {
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_object(v)) {
        json_object_foreach(v, key, member) if (take(member, timed, c) < 0) return -1;
        return 0;
    }
    if (json_is_array(v)) {
        json_array_foreach(v, i, member) if (take(member, timed, c) < 0) return -1;
        return 0;
    }
    const uint32_t n = (uint32_t)json_string_length(v); /* of null: 0 */
    c->values++;
    c->bytes += n;
    if (timed) return 0;
    if (putchar(json_is_string(v)) == EOF) return -1;
    if (!json_is_string(v)) return 0;
    return fwrite(&n, 4, 1, stdout) == 1 && fwrite(json_string_value(v), 1, n, stdout) == n ? 0 : -1;
}

static int column(const char *path, const char *name, bool timed, struct err *err) {
    const double start = clock_seconds();
    struct count c = {0};
    json_t *row;
    struct parquet *p = parquet_open(path, err);
    int k = p ? parquet_want(p, name, true, NULL, err) : -1;
    while (k >= 0 && (k = parquet_next(p, &row, err)) > 0) {
        if (take(row, timed, &c) < 0) k = err_set(err, "cannot write to standard output");
        json_decref(row);
    }
    parquet_close(p);
    const double t = clock_seconds() - start, mb = (double)c.bytes * 1e-6;
    if (timed && k == 0) printf("%" PRId64 " values, %.1f MB in %.2f s: %.0f MB/s\n", c.values, mb, t, mb / t);
    return k;
}

int main(int argc, char **argv) {
    struct err err = {0};
    const bool timed = argc == 4 && strcmp(argv[1], "--time") == 0;
    if (argc != 3 && !timed) {
        fprintf(stderr, "usage: parquet_dump [--time] FILE COLUMN\n");
        return 2;
    }
    if (column(argv[argc - 2], argv[argc - 1], timed, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 2;
}
