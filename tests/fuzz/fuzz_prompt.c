/* Fuzz target: texts with gaps, contexts and their continuations (after the first line break). */
#include "fuzz_file.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/prompt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { MASK = 1 << 20 };
    static struct tokenizer *t;
    struct err err = {{0}};
    struct ids ids = {0}, target = {0};
    if (!t && !(t = tokenizer_load("tests/golden/tokenizers/bytes.json", &err))) exit(1);
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    if (prompt_gaps(t, text, MASK, &ids, &err) < 0 && !err.msg[0]) abort();
    for (int64_t i = 0; i < ids.n; i++)
        if (ids.v[i] != MASK && ids.v[i] >= tokenizer_vocab_size(t)) abort();
    char *rest = strchr(text, '\n');
    if (rest) {
        *rest++ = 0;
        ids.n = 0;
        err.msg[0] = 0;
        if (prompt_pair(t, rest[0] & 1, text, rest, &ids, &target, &err) < 0 && !err.msg[0]) abort();
    }
    ids_free(&ids);
    ids_free(&target);
    free(text);
    return 0;
}
