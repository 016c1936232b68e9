/* Fuzz target: JSON lines and the typed members of what stands in them. */
#include "fuzz_file.h"

#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {{0}};
    struct jsonl *in = jsonl_open(fuzz_file(data, size), &err);
    json_t *v;
    int r;
    while ((r = in ? jsonl_next(in, &v, &err) : -1) > 0) {
        const char *text;
        int64_t whole, n;
        double real;
        bool flag;
        int32_t *ids = NULL;
        const int status[] = {json_get_int(v, "i", &whole, -5, 5, false, jsonl_where(in), &err),
                              json_get_real(v, "r", &real, false, "r", &err),
                              json_get_bool(v, "b", &flag, false, "b", &err),
                              json_get_text(v, "t", &text, &n, true, "t", &err),
                              json_get_ids(v, "ids", &ids, &n, 10, false, "ids", &err)};
        for (size_t i = 0; i < sizeof status / sizeof *status; i++)
            if (status[i] < 0 && !err.msg[0]) abort();
        for (int64_t i = 0; ids && i < n; i++)
            if (ids[i] < 0 || ids[i] >= 10) abort();
        mem_free(ids);
        json_decref(v);
    }
    if (r < 0 && !err.msg[0]) abort();
    jsonl_close(in);
    if (mem_in_use() != 0) abort();
    return 0;
}
