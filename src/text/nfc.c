/* nfc: Unicode's canonical composition (UAX #15), which the tokenizers of Qwen and others ask for; utf8proc does the
 * work. The compatibility forms (NFKC, NFKD) are not here.
 *
 * The `tokenizers` package, with which the vocabularies were learnt, composes as Unicode 9 does. Marks that are younger
 * are starters to it: they neither move past other marks nor compose, and so they are here. */
#include <stdlib.h>
#include <utf8proc.h>
#include "base/err.h"
#include "text/normalize.h"
#include "text/utf8.h"

/* Characters of Unicode 10 to 15 with a combining class, and U+11930, which ends the one pair that composes. To print
 * them: those in UnicodeData.txt (fourth field not 0) to which DerivedAge.txt gives an age above 9.0. */
static const struct range {
    int32_t first, last;
} young[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
    {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
};

static int in_range(const void *key, const void *element) {
    const int32_t c = *(const int32_t *)key;
    const struct range *r = element;
    return c < r->first ? -1 : c > r->last;
}

static bool is_young(int32_t c) {
    return c >= young[0].first && bsearch(&c, young, sizeof young / sizeof *young, sizeof *young, in_range);
}

/* Characters below U+0300, the first combining mark, compose with nothing: their bytes are below 0xCC. */
static bool is_composed(const char *text, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if ((unsigned char)text[i] >= 0xCC) return false;
    return true;
}

static int compose(struct bytes *out, const char *text, int64_t n, struct err *err) {
    utf8proc_uint8_t *composed = NULL;
    const utf8proc_ssize_t m =
        utf8proc_map((const utf8proc_uint8_t *)text, n, &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const int r = m < 0 ? err_set(err, "Unicode normalisation: %s", utf8proc_errmsg(m))
                        : bytes_push(out, (const char *)composed, m, err);
    free(composed); /* utf8proc allocates with malloc */
    return r;
}

int nfc_push(struct bytes *out, const char *text, int64_t n, struct err *err) {
    int64_t done = 0, at = 0;
    int32_t c;
    if (is_composed(text, n)) return bytes_push(out, text, n, err);
    while (at < n) {
        const int width = utf8_get(text + at, &c);
        if (is_young(c)) {
            if (compose(out, text + done, at - done, err) < 0 || bytes_push(out, text + at, width, err) < 0) return -1;
            done = at + width;
        }
        at += width;
    }
    return compose(out, text + done, n - done, err);
}
