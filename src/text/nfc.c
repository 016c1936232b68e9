/* nfc: Unicode's canonical composition (UAX #15), which the tokenizers of Qwen and others ask for; utf8proc does the
 * work. The compatibility forms (NFKC, NFKD) are not here. */
#include <stdlib.h>
#include <utf8proc.h>
#include "base/err.h"
#include "text/normalize.h"

/* Characters below U+0300, the first combining mark, compose with nothing: their bytes are below 0xCC. */
static bool is_composed(const char *text, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if ((unsigned char)text[i] >= 0xCC) return false;
    return true;
}

int nfc_push(struct bytes *out, const char *text, int64_t n, struct err *err) {
    if (is_composed(text, n)) return bytes_push(out, text, n, err);
    utf8proc_uint8_t *composed = NULL;
    const utf8proc_ssize_t m =
        utf8proc_map((const utf8proc_uint8_t *)text, n, &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const int r = m < 0 ? err_set(err, "Unicode normalisation: %s", utf8proc_errmsg(m))
                        : bytes_push(out, (const char *)composed, m, err);
    free(composed); /* utf8proc allocates with malloc */
    return r;
}
