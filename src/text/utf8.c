/* utf8: see the header. Table 3-7 of the Unicode standard (well-formed byte sequences) is the whole logic. */
#include "text/utf8.h"
#include <string.h>
#include "base/buffer.h"

int utf8_next(const char *text, int64_t n, int32_t *cp) {
    const unsigned char *s = (const unsigned char *)text;
    int c = s[0], low = 0x80, high = 0xBF;
    *cp = c;
    if (c < 0x80) return 1;
    *cp = -1;
    if (c < 0xC2 || c > 0xF4) return 1;
    if (c == 0xE0) low = 0xA0;
    if (c == 0xED) high = 0x9F;
    if (c == 0xF0) low = 0x90;
    if (c == 0xF4) high = 0x8F;
    int len = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    int32_t v = c & (0xFF >> (len + 1));
    for (int i = 1; i < len; i++) {
        if (i >= n || s[i] < low || s[i] > high) return i;
        v = v << 6 | (s[i] & 0x3F);
        low = 0x80, high = 0xBF;
    }
    *cp = v;
    return len;
}

int utf8_put(char out[4], int32_t cp) {
    if (cp < 0x80) return out[0] = (char)cp, 1;
    int n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00 >> n & 0xFF) | cp);
    return n;
}

int64_t utf8_valid(const char *s, int64_t n) {
    int64_t i = 0;
    while (i < n) {
        uint64_t w;
        if (n - i >= 8 && (memcpy(&w, s + i, 8), (w & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        int32_t cp;
        int len = utf8_next(s + i, n - i, &cp);
        if (cp < 0) return i;
        i += len;
    }
    return n;
}

int utf8_clean(struct bytes *out, const char *s, int64_t n, struct err *err) {
    while (n > 0) {
        int64_t good = utf8_valid(s, n);
        if (bytes_push(out, s, good, err) < 0) return -1;
        s += good, n -= good;
        if (n == 0) break;
        int32_t cp;
        int bad = utf8_next(s, n, &cp);
        if (bytes_push(out, "\xEF\xBF\xBD", 3, err) < 0) return -1;
        s += bad, n -= bad;
    }
    return 0;
}

bool utf8_is_space(int32_t c) {
    if (c < 0x85) return (c >= 9 && c <= 13) || c == ' ';
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}
