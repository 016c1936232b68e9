/* decode: ids -> text, by the rules of a tokenizer file. */
#ifndef MDM_TEXT_DECODE_H
#define MDM_TEXT_DECODE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buffer.h"

struct err;
struct rules;

/* Append the text of ids; see tokenizer_decode(). */
int decode(const struct rules *r, const int32_t *ids, int64_t n, bool keep_special, struct bytes *out, struct err *err);

#endif
