/* Fuzz target: tokenizer files of all kinds and texts for them. One byte n, n bytes of text, the rest is the file. */
#include "fuzz_file.h"

#include "base/err.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size < 1 + (size_t)data[0]) return 0;
    const char *text = (const char *)data + 1;
    int64_t n = data[0];
    struct err err = {0};
    struct ids ids = {0};
    struct bytes out = {0};
    struct tokenizer *t = tokenizer_load(fuzz_file(data + 1 + n, size - 1 - (size_t)n), &err);
    if (t && tokenizer_encode(t, text, n, &ids, &err) == 0) {
        /* What encode gives, decode takes, and its text is always well-formed. */
        for (int64_t i = 0; i < ids.n; i++) {
            if (ids.v[i] < 0 || ids.v[i] >= tokenizer_vocab_size(t)) abort();
        }
        if (tokenizer_decode(t, ids.v, ids.n, data[0] & 1, &out, &err) == 0 && utf8_valid(out.v, out.n) < out.n)
            abort();
    }
    ids_free(&ids);
    bytes_free(&out);
    tokenizer_free(t);
    return 0;
}
