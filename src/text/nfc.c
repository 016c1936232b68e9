/* nfc: Unicode's canonical composition (UAX #15), which the tokenizers of Qwen and others ask for. The compatibility
 * forms (NFKC, NFKD) are not here.
 *
 * Nearly all text is composed already: runs of characters that composition leaves alone are copied; only around the
 * others is text taken apart, put in order and composed. The data are of Unicode 14: later characters pass unchanged.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "text/nfc_data.h"
#include "text/normalize.h"
#include "text/utf8.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
enum { HANGUL = 0xAC00, HANGUL_L = 0x1100, HANGUL_V = 0x1161, HANGUL_T = 0x11A7, HANGUL_VS = 21, HANGUL_TS = 28 };
enum { HANGUL_LS = 19, HANGULS = HANGUL_LS * HANGUL_VS * HANGUL_TS, COMPAT = 0x2F800, SLOTS = 4096 };

static struct {
    uint64_t touchy[0x110000 / 64]; /* bit set: the character cannot simply be copied */
    uint32_t compose[SLOTS][3];     /* hash table: first, second, composite (0: empty) */
    pthread_once_t once;
} tables = {.once = PTHREAD_ONCE_INIT};

static void set_touchy(uint32_t cp) {
    tables.touchy[cp / 64] |= 1ull << cp % 64;
}

static bool is_touchy(int32_t cp) {
    return tables.touchy[cp / 64] >> cp % 64 & 1;
}

static uint32_t slot_of(uint32_t first, uint32_t second) {
    return (first * 0x9E3779B1u ^ second * 0x85EBCA6Bu) >> 7;
}

static void add_pair(uint32_t cp, uint32_t first, uint32_t second) {
    for (int i = 0; i < COUNT(nfc_excluded); i++) {
        if (nfc_excluded[i] == cp) return set_touchy(cp);
    }
    set_touchy(second);
    uint32_t i = slot_of(first, second);
    while (tables.compose[i % SLOTS][2] != 0) i++;
    uint32_t *slot = tables.compose[i % SLOTS];
    slot[0] = first, slot[1] = second, slot[2] = cp;
}

static void build(void) {
    for (int i = 0; i < COUNT(nfc_pairs); i++) add_pair(nfc_pairs[i][0], nfc_pairs[i][1], nfc_pairs[i][2]);
    for (int i = 0; i < COUNT(nfc_high_pairs); i++)
        add_pair(nfc_high_pairs[i][0], nfc_high_pairs[i][1], nfc_high_pairs[i][2]);
    for (int i = 0; i < COUNT(nfc_singles); i++) set_touchy(nfc_singles[i][0]);
    for (int i = 0; i < COUNT(nfc_compat); i++) set_touchy(COMPAT + (uint32_t)i);
    for (uint32_t i = 0; i < HANGUL_VS; i++) set_touchy(HANGUL_V + i);
    for (uint32_t i = 1; i < HANGUL_TS; i++) set_touchy(HANGUL_T + i);
    for (int i = 0; i < COUNT(nfc_classes); i++) {
        for (uint32_t cp = nfc_classes[i][0]; cp <= nfc_classes[i][1]; cp++) set_touchy(cp);
    }
}

static int combining_class(uint32_t cp) {
    int low = 0, high = COUNT(nfc_classes);
    while (low < high) {
        int mid = (low + high) / 2;
        if (nfc_classes[mid][1] < cp)
            low = mid + 1;
        else
            high = mid;
    }
    return low < COUNT(nfc_classes) && nfc_classes[low][0] <= cp ? (int)nfc_classes[low][2] : 0;
}

static int by_first16(const void *key, const void *entry) {
    uint32_t k = *(const uint32_t *)key, e = *(const uint16_t *)entry;
    return (k > e) - (k < e);
}

static int by_first32(const void *key, const void *entry) {
    uint32_t k = *(const uint32_t *)key, e = *(const uint32_t *)entry;
    return (k > e) - (k < e);
}

/* One step of decomposition: what cp consists of, 0 when it stands for itself; *second is 0 when it is one character.
 */
static uint32_t take_apart(uint32_t cp, uint32_t *second) {
    *second = 0;
    if (cp >= HANGUL && cp < HANGUL + HANGULS) {
        uint32_t k = cp - HANGUL, t = k % HANGUL_TS;
        *second = t ? HANGUL_T + t : HANGUL_V + k / HANGUL_TS % HANGUL_VS;
        return t ? cp - t : HANGUL_L + k / HANGUL_TS / HANGUL_VS;
    }
    if (cp >= COMPAT && cp < COMPAT + (uint32_t)COUNT(nfc_compat)) return nfc_compat[cp - COMPAT];
    for (int i = 0; cp >= 0x10000 && i < COUNT(nfc_high_pairs); i++) {
        if (nfc_high_pairs[i][0] == cp) return *second = nfc_high_pairs[i][2], nfc_high_pairs[i][1];
    }
    const uint16_t *pair = bsearch(&cp, nfc_pairs, (size_t)COUNT(nfc_pairs), sizeof *nfc_pairs, by_first16);
    if (pair) return *second = pair[2], pair[1];
    const uint32_t *one = bsearch(&cp, nfc_singles, (size_t)COUNT(nfc_singles), sizeof *nfc_singles, by_first32);
    return one ? one[1] : 0;
}

static uint32_t put_together(uint32_t first, uint32_t second) {
    if (first >= HANGUL_L && first < HANGUL_L + HANGUL_LS && second >= HANGUL_V && second < HANGUL_V + HANGUL_VS) {
        return HANGUL + ((first - HANGUL_L) * HANGUL_VS + second - HANGUL_V) * HANGUL_TS;
    }
    if (first >= HANGUL && first < HANGUL + HANGULS && (first - HANGUL) % HANGUL_TS == 0 && second > HANGUL_T &&
        second < HANGUL_T + HANGUL_TS) {
        return first + second - HANGUL_T;
    }
    for (uint32_t i = slot_of(first, second); tables.compose[i % SLOTS][2] != 0; i++) {
        const uint32_t *slot = tables.compose[i % SLOTS];
        if (slot[0] == first && slot[1] == second) return slot[2];
    }
    return 0;
}

struct mark {
    uint32_t cp;
    int32_t class;
    int64_t at;
};
struct marks {
    struct mark *v;
    int64_t n, capacity;
};

static int push_decomposed(struct marks *m, uint32_t cp, struct err *err) {
    uint32_t stack[8] = {cp}; /* a decomposition is at most four characters deep */
    for (int n = 1; n > 0;) {
        uint32_t top = stack[--n], second, first = take_apart(top, &second);
        if (first != 0) {
            if (second) stack[n++] = second;
            stack[n++] = first;
            continue;
        }
        if (mem_grow(&m->v, &m->capacity, m->n + 1, sizeof *m->v, "text", err) < 0) return -1;
        m->v[m->n] = (struct mark){.cp = top, .class = combining_class(top), .at = m->n};
        m->n++;
    }
    return 0;
}

static int by_class(const void *x, const void *y) {
    const struct mark *a = x, *b = y;
    if (a->class != b->class) return a->class < b->class ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

/* Runs of combining characters in the order of their classes. */
static void order(struct marks *m) {
    for (int64_t i = 0; i < m->n;) {
        int64_t start = i;
        bool sorted = true;
        for (; i < m->n && m->v[i].class != 0; i++)
            sorted = sorted && (i == start || m->v[i - 1].class <= m->v[i].class);
        if (!sorted) qsort(m->v + start, (size_t)(i - start), sizeof *m->v, by_class);
        if (i == start) i++;
    }
}

static void compose(struct marks *m) {
    int64_t starter = -1, n = 0;
    int last = 0; /* class of the character before, 0 right behind the starter */
    for (int64_t i = 0; i < m->n; i++) {
        struct mark c = m->v[i];
        bool reachable = starter >= 0 && (n - 1 == starter || (last != 0 && last < c.class));
        uint32_t made = reachable ? put_together(m->v[starter].cp, c.cp) : 0;
        if (made) {
            m->v[starter].cp = made;
            continue;
        }
        if (c.class == 0) starter = n;
        last = c.class;
        m->v[n++] = c;
    }
    m->n = n;
}

static int push_composed(struct bytes *out, struct marks *m, const char *text, int64_t n, struct err *err) {
    m->n = 0;
    for (int64_t i = 0; i < n;) {
        int32_t cp;
        i += utf8_get(text + i, &cp);
        if (push_decomposed(m, (uint32_t)cp, err) < 0) return -1;
    }
    order(m);
    compose(m);
    for (int64_t i = 0; i < m->n; i++) {
        char utf8[4];
        if (bytes_push(out, utf8, utf8_put(utf8, (int32_t)m->v[i].cp), err) < 0) return -1;
    }
    return 0;
}

int nfc_push(struct bytes *out, const char *text, int64_t n, struct err *err) {
    struct marks marks = {0};
    int64_t copied = 0, last = 0, i = 0; /* last: where the character before i starts */
    int r = 0;
    pthread_once(&tables.once, build);
    while (i < n && r == 0) {
        int32_t cp;
        int len = utf8_get(text + i, &cp);
        if (cp < 0x300 || !is_touchy(cp)) {
            last = i;
            i += len;
            continue;
        }
        /* From the character before, which may compose with this one, to the next that is left alone. */
        r = bytes_push(out, text + copied, last - copied, err);
        do i += len;
        while (i < n && (len = utf8_get(text + i, &cp), is_touchy(cp)));
        if (r == 0) r = push_composed(out, &marks, text + last, i - last, err);
        copied = last = i;
    }
    if (r == 0) r = bytes_push(out, text + copied, n - copied, err);
    mem_free(marks.v);
    return r;
}
