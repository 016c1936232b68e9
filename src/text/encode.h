/* encode: text -> ids, by the rules of a tokenizer file. */
#ifndef MDM_TEXT_ENCODE_H
#define MDM_TEXT_ENCODE_H
#include <pthread.h>
#include <stdint.h>
#include "base/buffer.h"

struct err;
struct encode_scratch;
struct rules;

struct encoder {
    const struct rules *rules; /* borrowed */
    int32_t ascii_id[128];     /* the symbol of an ASCII character, -1: none */
    /* Bloom filter of the pairs of neighbouring characters inside tokens: between others no merge can happen, so that a
     * long text falls into short words exactly. NULL: never cut. */
    uint64_t *joined;
    /* Scratch areas not in use, handed from call to call. */
    pthread_mutex_t lock;
    struct encode_scratch *idle;
};

int encoder_init(struct encoder *e, const struct rules *rules,
                 struct err *err); /* on failure nothing is left to free */
void encoder_free(struct encoder *e);
/* Append the ids of text; see tokenizer_encode(). Any number of threads at once. */
int encode(const struct encoder *e, const char *text, int64_t n, struct ids *out, struct err *err);

#endif
