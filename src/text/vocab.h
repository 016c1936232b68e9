/* vocab: the tokens of a tokenizer: id -> bytes and flags, bytes -> id.
 *
 * Ids may have holes. Owns its copy of every text; vocab_free() releases all. */
#ifndef MDM_TEXT_VOCAB_H
#define MDM_TEXT_VOCAB_H
#include <stdint.h>
#include <string.h>

struct err;

/* Ids are below: sixteen times the largest vocabulary in use. Bounds what a file can ask for. */
enum { VOCAB_MAX = 1 << 22 };

enum vocab_flag {
    VOCAB_MODEL = 1,      /* the merge model may produce it (not a token that is only cut out of the text beforehand) */
    VOCAB_SPECIAL = 2,    /* begin, end, mask, …: left out when decoding */
    VOCAB_BYTE = 4,       /* stands for one byte: "<0x0A>" */
    VOCAB_UNKNOWN = 8,    /* SentencePiece's unknown piece */
    VOCAB_REWRITTEN = 16, /* an added token that the normaliser changes: decodes to the changed text */
};
struct vocab_token {
    int64_t at; /* offset into text */
    int32_t n1; /* length + 1; 0: no such id */
    uint32_t flags;
};
struct vocab {
    char *text;
    int64_t text_n, text_capacity;
    struct vocab_token *token;
    int64_t n, capacity; /* n = largest id + 1 */
    int32_t *slot;       /* open addressing: id + 1, 0 = empty */
    int64_t slots, used; /* slots: a power of two */
};

/* Add a token. An id or a text that is already there, or an id outside [0, VOCAB_MAX), is an error. */
int vocab_add(struct vocab *v, int64_t id, const char *text, int64_t n, uint32_t flags, struct err *err);
int32_t vocab_find(const struct vocab *v, const char *text, int64_t n); /* id, or -1 */
void vocab_free(struct vocab *v);

static inline int vocab_has(const struct vocab *v, int64_t id) {
    return id >= 0 && id < v->n && v->token[id].n1 > 0;
}
/* Text of a token that is there. */
static inline const char *vocab_text(const struct vocab *v, int64_t id, int64_t *n) {
    *n = v->token[id].n1 - 1;
    return v->text + v->token[id].at;
}

/* Hash of a short byte string (in memory only: it depends on the byte order). */
static inline uint64_t hash_bytes(const char *s, int64_t n) {
    const uint64_t k = 0x9E3779B97F4A7C15u;
    uint64_t h = (uint64_t)n * k, w;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * k;
        h ^= h >> 29;
    }
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, s, 4);
        memcpy(&b, s + n - 4, 4);
        h = (h ^ ((uint64_t)a << 32 | b)) * k;
    } else if (n > 0) {
        h = (h ^
             ((uint64_t)(unsigned char)s[0] << 16 | (uint64_t)(unsigned char)s[n / 2] << 8 | (unsigned char)s[n - 1])) *
            k;
    }
    return h ^ h >> 32;
}

#endif
