/* added: tokens that are cut out of the text before anything else happens to it: special tokens and the like.
 *
 * The first match counts, of those that start there the longest; flags as in tokenizer.json. */
#ifndef MDM_TEXT_ADDED_H
#define MDM_TEXT_ADDED_H
#include <stdbool.h>
#include <stdint.h>

struct err;
struct pattern;
struct pattern_scratch;

struct added_token {
    char *text; /* owned */
    int64_t n;
    int32_t id;
    bool lstrip, rstrip, single_word; /* take the white space before, after; only when no word character touches it */
};
struct added {
    struct added_token *token; /* sorted by bytes after added_done() */
    int64_t n, capacity;
    bool starts[256]; /* bytes that some token starts with */
    int only_start;   /* the one such byte, or -1 */
    struct pattern *word;
};

int added_push(struct added *a, const char *text, int64_t n, const struct added_token *flags, struct err *err);
int added_done(struct added *a, struct err *err); /* sort; of equal texts the smallest id counts */
void added_free(struct added *a);

/* State of a walk: pieces alternate between plain text and tokens. */
struct added_walk {
    const char *text;
    int64_t n, done, search;
    int64_t token_at, token_end;
    int32_t token; /* found but not yet handed out; -1: none */
};
void added_start(struct added_walk *w, const char *text, int64_t n);
/* 1 and the next piece, *id >= 0 for a token and -1 for text, which is never empty; 0 at the end; -1 with err. */
int added_next(const struct added *a, struct pattern_scratch *s, struct added_walk *w, int64_t *from, int64_t *to,
               int32_t *id, struct err *err);

#endif
