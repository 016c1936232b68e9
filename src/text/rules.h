/* rules: what a tokenizer file says, in one place: the tokens, the merges, and what happens to a text before and after
 * them. The loaders (hf_load, sentencepiece) fill it, encode and decode follow it.
 *
 * The way of a text: cut out `raw` tokens, normalise, cut out `normal` tokens, pre-tokenise, merge. */
#ifndef MDM_TEXT_RULES_H
#define MDM_TEXT_RULES_H
#include <stdbool.h>
#include <stdint.h>
#include "text/added.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalize.h"
#include "text/pretoken.h"
#include "text/vocab.h"

/* What a folder's tokenizer is called, in the order in which it is looked for. */
#define TOKENIZER_JSON "tokenizer.json"
#define TOKENIZER_MODEL "tokenizer.model"
#define TOKENIZER_VOCAB "vocab.json"
#define TOKENIZER_BIN "tokenizer.bin"

struct rules {
    const char *name; /* what such a file is called, one of the above */
    struct vocab vocab;
    int64_t
        size; /* ids from here on are no tokens but characters that occur only inside longer pieces (SentencePiece) */
    int32_t bos, eos, unknown; /* -1: none */
    struct bpe bpe;
    int32_t byte_id[256]; /* byte level: the symbol of a byte; byte fallback: its "<0x..>"; -1: none */
    bool byte_fallback;
    bool fuse_symbols;  /* neighbouring unknown characters are one unknown token, before merging (tokenizers) … */
    bool fuse_output;   /* … or after it (SentencePiece) */
    bool ignore_merges; /* a word that is a token as a whole is not merged from parts */
    struct added raw, normal;
    struct normalizer normalizer;
    struct pretoken pretoken;
    struct decoder decoder;
};

void rules_init(struct rules *r); /* no tokens, no steps, no ids */
void rules_free(struct rules *r); /* of a zeroed struct too */

/* Id of a token's text, or -1. */
int32_t rules_find(const struct rules *r, const char *text, int64_t n);
/* The same for what merges may start from or end in: a token of the merge model, or a character beyond `size`. */
int32_t rules_symbol(const struct rules *r, const char *text, int64_t n);

#endif
