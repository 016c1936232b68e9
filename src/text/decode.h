/* decode: token texts -> text, by the steps of tokenizer.json's "decoder" or by SentencePiece's rules. */
#ifndef MDM_TEXT_DECODE_H
#define MDM_TEXT_DECODE_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

enum decode_kind {
    DECODE_BYTE_LEVEL,
    DECODE_METASPACE,
    DECODE_BYTE_FALLBACK,
    DECODE_FUSE,
    DECODE_STRIP,
    DECODE_REPLACE,
    DECODE_SENTENCEPIECE,
};
struct decode_step {
    enum decode_kind kind;
    char *find, *put;    /* Strip, Metaspace: find = the character; Replace: both; owned */
    int64_t start, stop; /* Strip: how many at most on each side; Metaspace: start = 1 drops the prefix */
};
enum { DECODE_STEPS = 16 };
struct decoder {
    struct decode_step step[DECODE_STEPS];
    int n;
    bool spaced;      /* no decoder in the file: tokens are joined by spaces */
    char *unknown;    /* SentencePiece: what the unknown piece reads as; owned */
    bool strip_first; /* SentencePiece: the prefix space is dropped */
};

int decode_load(struct decoder *d, const json_t *v, struct err *err); /* frees what it made on failure */
void decode_free(struct decoder *d);
/* The byte that a token text such as "<0x0A>" names, or -1. */
int decode_byte_token(const char *text, int64_t n);

#endif
