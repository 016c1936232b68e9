/* parquet_dump: what the Parquet reader reads, for compare_parquet.py, and how fast.
 *
 *     parquet_dump FILE                 the columns of strings, one a line
 *     parquet_dump FILE COLUMN          values: u8 1 and u32 length and bytes, or u8 0 for null
 *     parquet_dump --time FILE COLUMN   values, bytes of text and MB/s, in words */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "parquet/parquet.h"

static int columns(const char *path, struct err *err) {
    char *names = parquet_columns(path, err);
    if (!names) return -1;
    if (names[0]) puts(names);
    mem_free(names);
    return 0;
}

static int values(const char *path, const char *column, bool timed, struct err *err) {
    double start = clock_seconds();
    int64_t bytes = 0, count = 0;
    struct parquet_value v;
    struct parquet *p = parquet_open(path, column, err);
    int k = p ? 1 : -1;
    while (k > 0 && (k = parquet_next(p, &v, err)) > 0) {
        bytes += v.n;
        count++;
        if (timed) continue;
        uint32_t n = (uint32_t)v.n;
        putchar(v.text != NULL);
        if (v.text && (fwrite(&n, 4, 1, stdout) != 1 || fwrite(v.text, 1, n, stdout) != n)) k = -1;
    }
    parquet_close(p);
    double t = clock_seconds() - start;
    if (timed && k == 0)
        printf("%" PRId64 " values, %.1f MB in %.2f s: %.0f MB/s\n", count, (double)bytes * 1e-6, t,
               (double)bytes * 1e-6 / t);
    return k;
}

int main(int argc, char **argv) {
    struct err err = {0};
    bool timed = argc == 4 && strcmp(argv[1], "--time") == 0;
    if (argc < 2 || argc > 4 || (argc == 4 && !timed)) {
        fprintf(stderr, "usage: parquet_dump [--time] FILE [COLUMN]\n");
        return 2;
    }
    int r = argc == 2 ? columns(argv[1], &err) : values(argv[argc - 2], argv[argc - 1], timed, &err);
    if (r < 0) fprintf(stderr, "%s\n", err.msg);
    return r < 0 ? 2 : 0;
}
