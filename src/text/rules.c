/* rules: see the header. */
#include "text/rules.h"
#include <string.h>

void rules_init(struct rules *r) {
    *r = (struct rules){.bos = -1, .eos = -1, .unknown = -1};
    memset(r->byte_id, -1, sizeof r->byte_id);
}

void rules_free(struct rules *r) {
    vocab_free(&r->vocab);
    bpe_free(&r->bpe);
    added_free(&r->raw);
    added_free(&r->normal);
    normalize_free(&r->normalizer);
    pretoken_free(&r->pretoken);
    decoder_free(&r->decoder);
}

int32_t rules_find(const struct rules *r, const char *text, int64_t n) {
    int32_t id = vocab_find(&r->vocab, text, n);
    return id < r->size ? id : -1;
}

int32_t rules_symbol(const struct rules *r, const char *text, int64_t n) {
    int32_t id = vocab_find(&r->vocab, text, n);
    return id >= 0 && (r->vocab.token[id].flags & VOCAB_MODEL) ? id : -1;
}
