/* Fuzz target: what lies beside a vocab.json: its merges.txt, and a tokenizer_config.json that names begin and end. Two bytes
 * n, n bytes of merges.txt, the rest is the other file. */
#include "fuzz_file.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char vocab[] = "{\"a\": 0, \"b\": 1, \"ab\": 2, \"abb\": 3, \"<|endoftext|>\": 4, \"<s>\": 5}";
    char path[4200];
    struct err err = {{0}};
    struct ids ids = {0};
    if (size < 2 || size - 2 < (size_t)(data[0] | data[1] << 8)) return 0;
    const size_t n = (size_t)(data[0] | data[1] << 8);
    fuzz_folder("merges.txt", data + 2, n);
    fuzz_folder("tokenizer_config.json", data + 2 + n, size - 2 - n);
    snprintf(path, sizeof path, "%s/vocab.json", fuzz_folder("vocab.json", (const uint8_t *)vocab, strlen(vocab)));
    struct tokenizer *t = tokenizer_load(path, &err);
    if (!t && !err.msg[0]) abort();
    if (t && (tokenizer_bos(t) >= tokenizer_vocab_size(t) || tokenizer_eos(t) >= tokenizer_vocab_size(t))) abort();
    if (t && tokenizer_encode(t, "abba", 4, &ids, &err) == 0)
        for (int64_t i = 0; i < ids.n; i++)
            if (ids.v[i] < 0 || ids.v[i] >= tokenizer_vocab_size(t)) abort();
    ids_free(&ids);
    tokenizer_free(t);
    if (mem_in_use() != 0) abort();
    return 0;
}
