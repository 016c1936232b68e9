/* utf8: reading and writing UTF-8, one character at a time.
 *
 * Ill-formed input is defined as Unicode recommends and Python's errors="replace" does: each maximal subpart (the
 * longest start of a well-formed sequence, at least one byte) stands for one U+FFFD. */
#ifndef MDM_TEXT_UTF8_H
#define MDM_TEXT_UTF8_H
#include <stdbool.h>
#include <stdint.h>

struct bytes;
struct err;

/* The character at s (n >= 1 bytes are there): its length in bytes, *cp its code point. Ill-formed: the length of the
 * maximal subpart, *cp = -1. */
int utf8_next(const char *s, int64_t n, int32_t *cp);
/* Bytes of cp (a valid code point) to out; returns how many. */
int utf8_put(char out[4], int32_t cp);
/* Length of the longest well-formed start of s. */
int64_t utf8_valid(const char *s, int64_t n);
/* Append s to out, ill-formed parts as U+FFFD. */
int utf8_clean(struct bytes *out, const char *s, int64_t n, struct err *err);
/* Unicode's White_Space property. */
bool utf8_is_space(int32_t cp);

/* The same as utf8_next() for text known to be well-formed: no checks. */
static inline int utf8_get(const char *text, int32_t *cp) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) return *cp = s[0], 1;
    if (s[0] < 0xE0) return *cp = (s[0] & 0x1F) << 6 | (s[1] & 0x3F), 2;
    if (s[0] < 0xF0) return *cp = (s[0] & 0x0F) << 12 | (s[1] & 0x3F) << 6 | (s[2] & 0x3F), 3;
    return *cp = (s[0] & 0x07) << 18 | (s[1] & 0x3F) << 12 | (s[2] & 0x3F) << 6 | (s[3] & 0x3F), 4;
}

#endif
