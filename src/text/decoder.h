/* decoder: token texts -> text, by the steps of tokenizer.json's "decoder". SentencePiece's own way is in decode.c. */
#ifndef MDM_TEXT_DECODER_H
#define MDM_TEXT_DECODER_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buffer.h"

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

int decoder_load(struct decoder *d, const json_t *v, struct err *err); /* frees what it made on failure */
void decoder_free(struct decoder *d);
/* The byte that a token text such as "<0x0A>" names, or -1. */
int decoder_byte_token(const char *text, int64_t n);

struct strings { /* a list; string i is text.v[end[i-1] .. end[i]); zero-initialise; strings_free() */
    struct bytes text;
    int64_t *end;
    int64_t n, capacity;
};
int strings_end(struct strings *s, struct err *err); /* close the string that was just appended to text */
void strings_free(struct strings *s);
/* Append to out what the steps make of the strings, always well-formed UTF-8. `in` is used up. */
int decoder_run(const struct decoder *d, struct strings *in, struct bytes *out, struct err *err);

#endif
