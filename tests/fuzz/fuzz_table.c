/* Fuzz target: tables of JSON lines, JSON arrays, TSV and lists, packed or not. The first byte chooses the form, as a
 * name's end would; Parquet has a target of its own. */
#include "fuzz_file.h"

#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "data/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const ends[] = {"jsonl", "json", "tsv", "lst"};
    if (size == 0) return 0;
    struct err err = {0};
    char path[sizeof fuzz_made + 64];
    json_t *row;
    const char *file = fuzz_file(data + 1, size - 1);
    snprintf(path, sizeof path, "%s/table.%s", fuzz_scratch(), ends[data[0] % 4]);
    if (symlink(file, path) < 0) return 0;
    struct table *t = table_open(path, NULL, &err);
    for (int rows = 0; t && rows < 20000 && table_next(t, &row, &err) > 0; rows++) {
        if (json_typeof(row) != JSON_OBJECT || !table_where(t)[0]) abort();
        table_field(row, "a.b.c");
        json_decref(row);
    }
    table_close(t);
    unlink(path);
    return 0;
}
