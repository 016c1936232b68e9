/* normalize: rewrites a text before it is cut and merged ("normalizer" of tokenizer.json, SentencePiece's normaliser).
 *
 * A list of steps: Prepend, Replace, NFC, Sequence of these, or the one SentencePiece step. Others are refused by
 * name. */
#ifndef MDM_TEXT_NORMALIZE_H
#define MDM_TEXT_NORMALIZE_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "text/added.h"
#include "base/buffer.h"

struct err;
struct pattern;

enum normal_kind { NORMAL_PREPEND, NORMAL_REPLACE, NORMAL_NFC, NORMAL_SENTENCEPIECE };
struct normal_step {
    enum normal_kind kind;
    char *text; /* what is put before, what replaces; owned */
    struct pattern *pattern;
};
/* SentencePiece: optional character map (a trie of byte strings), then the treatment of spaces. */
struct sp_rules {
    bool add_prefix, remove_extra, escape, as_suffix;
    uint32_t *trie; /* owned; NULL: none */
    int64_t trie_n;
    char *to; /* the map's results, NUL-terminated strings; owned */
    int64_t to_n;
    struct added verbatim; /* user-defined pieces, which the map leaves alone */
};
enum { NORMAL_STEPS = 16 };
struct normalizer {
    struct normal_step step[NORMAL_STEPS];
    int n;
    struct sp_rules sp;
};

/* From the "normalizer" member (NULL or JSON null: none). Frees what it made on failure. */
int normalize_load(struct normalizer *z, const json_t *v, struct err *err);
void normalize_free(struct normalizer *z);
/* SentencePiece's precompiled character map; data is copied. */
int sp_rules_map(struct sp_rules *r, const unsigned char *data, int64_t n, struct err *err);

/* Rewrite well-formed text; *out points into one of the two buffers, or at text itself. */
int normalize_run(const struct normalizer *z, struct bytes buffer[2], struct pattern_scratch *s, const char *text,
                  int64_t n, const char **out, int64_t *out_n, struct err *err);

/* Append the canonical composition (NFC) of well-formed text. */
int nfc_push(struct bytes *out, const char *text, int64_t n, struct err *err);

#endif
