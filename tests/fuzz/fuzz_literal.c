/* Fuzz target: Python literals, which RACE's problems are written as. */
#include "fuzz_file.h"

#include "base/err.h"
#include "eval/pystring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    json_t *v = py_literal((const char *)data, (int64_t)size, &err);
    if (!v == !err.msg[0]) abort();
    json_decref(v);
    return 0;
}
