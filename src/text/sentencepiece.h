/* sentencepiece: `tokenizer.model` (BPE with byte fallback: Llama-2), and llama2.c's `tokenizer.bin`, which holds the same
 * pieces. */
#ifndef MDM_TEXT_SENTENCEPIECE_H
#define MDM_TEXT_SENTENCEPIECE_H
#include <stdint.h>

struct err;
struct rules;

/* Fill fresh rules from the bytes of a file. The rules are the caller's to free, also after a failure. */
int sentencepiece_load(struct rules *r, const unsigned char *data, int64_t n, struct err *err);
int tokbin_load(struct rules *r, const unsigned char *data, int64_t n, struct err *err);

#endif
