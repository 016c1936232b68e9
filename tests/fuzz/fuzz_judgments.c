/* Fuzz target: any bytes as a file of judgments, shown without a picture. */
#include "fuzz_file.h"

#include "base/err.h"
#include "base/mem.h"
#include "eval/judge_show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static FILE *nowhere;
    struct judge_table t;
    struct err err = {{0}};
    char *path = (char *)fuzz_file(data, size);
    if (!nowhere && !(nowhere = fopen("/dev/null", "w"))) abort();
    if (judge_table_open(&t, NULL, &path, 1, &err) == 0) {
        if (t.n < 1 || !*t.judge) abort();
        judge_table_print(nowhere, &t);
        judge_table_close(&t);
    } else if (!err.msg[0]) {
        abort();
    }
    if (mem_in_use() != 0) abort();
    return 0;
}
