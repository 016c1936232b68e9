/* Fuzz target: any bytes as a run's metrics.csv. What is read is whole, and a run that goes on keeps those rows. */
#include "fuzz_file.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "train/metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *folder = fuzz_folder("metrics.csv", data, size);
    struct metrics_row *rows, *again, last;
    struct err err = {{0}};
    int64_t n, kept = 0, left;
    if (metrics_read(&rows, &n, folder, &err) == 0) {
        if (n < 1) abort();
        for (int64_t i = 0; i < n; i++) {
            if (rows[i].step < 0 || isnan(rows[i].tokens) || isnan(rows[i].flops)) abort();
            kept += rows[i].step >= 1;
        }
        struct metrics *m = metrics_open(folder, INT64_MAX, NULL, &last, &err);
        if (!m || metrics_close(m, &err) < 0) abort();
        if (kept > 0 && (metrics_read(&again, &left, folder, &err) < 0 || left != kept)) abort();
        if (kept > 0) mem_free(again);
    } else if (!err.msg[0]) {
        abort();
    }
    mem_free(rows);
    if (mem_in_use() != 0) abort();
    return 0;
}
