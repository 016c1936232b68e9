/* tokenizer_impl: what a loaded tokenizer is made of; for the files behind tokenizer.h only.
 *
 * Loading fills it (hf_load.c, sentencepiece.c), encode.c and decode.c read it. */
#ifndef MDM_TEXT_TOKENIZER_IMPL_H
#define MDM_TEXT_TOKENIZER_IMPL_H
#include <pthread.h>
#include "text/added.h"
#include "text/bpe.h"
#include "text/decode.h"
#include "text/normalize.h"
#include "text/pretoken.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

struct encode_scratch;

struct tokenizer {
    char *path;
    uint64_t digest_bits;
    char digest[17];
    const char *name; /* of its copies, one of TOKENIZER_JSON … */
    /* Tokens. Ids from `size` on are not tokens but characters that occur only inside longer pieces (SentencePiece). */
    struct vocab vocab;
    int64_t size;
    int32_t bos, eos, unknown; /* -1: none */
    struct bpe bpe;
    int32_t byte_id[256];  /* byte level: the symbol of a byte; byte fallback: its "<0x..>"; -1: none */
    int32_t ascii_id[128]; /* the symbol of an ASCII character, -1: none */
    bool byte_fallback;
    bool fuse_symbols;  /* neighbouring unknown characters are one unknown token, before merging (tokenizers) … */
    bool fuse_output;   /* … or after it (SentencePiece) */
    bool ignore_merges; /* a word that is a token as a whole is not merged from parts */
    /* The way of a text: cut out `raw` tokens, normalise, cut out `normal` tokens, pre-tokenise, merge. */
    struct added raw, normal;
    struct normalizer normalizer;
    struct pretoken pretoken;
    struct decoder decoder;
    /* Bloom filter of the pairs of neighbouring characters inside tokens: between others no merge can happen, so that a
     * long text falls into short words exactly. NULL: never cut. */
    uint64_t *joined;
    /* Scratch areas not in use, handed from call to call. */
    pthread_mutex_t lock;
    struct encode_scratch *idle;
};

enum { JOINED_BITS = 1 << 19 };

/* What a folder's tokenizer is called, in the order in which it is looked for. */
#define TOKENIZER_JSON "tokenizer.json"
#define TOKENIZER_MODEL "tokenizer.model"
#define TOKENIZER_VOCAB "vocab.json"
#define TOKENIZER_BIN "tokenizer.bin"

/* Fill a zeroed tokenizer from the bytes of a file. */
int hf_load(struct tokenizer *t, const char *data, int64_t n, const char *path, struct err *err);
int sentencepiece_load(struct tokenizer *t, const unsigned char *data, int64_t n, struct err *err);
int tokbin_load(struct tokenizer *t, const unsigned char *data, int64_t n, struct err *err); /* llama2.c */

/* Take more bytes into the digest (64-bit FNV-1a). */
void tokenizer_digest_add(struct tokenizer *t, const void *data, int64_t n);

/* After loading: derive ascii_id and the filter. */
int encode_prepare(struct tokenizer *t, struct err *err);
void encode_scratch_free(struct encode_scratch *s); /* the whole list */

#endif
