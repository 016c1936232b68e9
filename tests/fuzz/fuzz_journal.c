/* Fuzz target: any bytes as a file of lines that grows. Opened and added to, it keeps its whole lines and ends in the new one. */
#include "fuzz_file.h"

#include <string.h>

#include "base/err.h"
#include "base/journal.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[FILE_PATH_MAX], *text;
    size_t n, whole = size;
    struct journal j;
    struct err err = {{0}};
    if (file_join(path, fuzz_folder("lines", data, size), "lines", &err) < 0) abort();
    while (whole > 0 && data[whole - 1] != '\n') whole--;
    if (journal_open(&j, path, &err) < 0 || journal_add(&j, "{}", 2, &err) < 0) abort();
    if (j.cut > 0 ? j.cut != (int64_t)(size - whole) : whole < size && j.size != (int64_t)size + 4) abort();
    journal_close(&j);
    if (file_read(&text, &n, path, size + 8, &err) < 0) abort();
    if (n < whole + 3 || memcmp(text, data, whole) != 0 || memcmp(text + n - 3, "{}\n", 3) != 0) abort();
    mem_free(text);
    if (mem_in_use() != 0) abort();
    return 0;
}
