/* bpe_count: how often each word (pre-token) occurs in a stream of documents: the first half of BPE training. */
#ifndef MDM_TEXT_BPE_COUNT_H
#define MDM_TEXT_BPE_COUNT_H
#include <stdint.h>

struct added;
struct err;
struct pretoken;

enum { WORD_MAX = 4096 }; /* bytes; longer "words" are data, not language, and are left out */

struct word_count {
    int64_t at, count; /* at: offset into text */
    int32_t n;
};
struct word_counts {
    char *text;
    int64_t text_n, text_capacity;
    struct word_count *word;
    int64_t n, capacity;
    int32_t *slot; /* open addressing: index + 1 */
    int64_t slots;
};

void word_counts_free(struct word_counts *w);
int word_counts_add(struct word_counts *w, const char *text, int64_t n, int64_t count, struct err *err);
/* Count the words of all documents that next() gives (see bpe_train()), on all threads. Tokens in `cut` are left out of
 * the text and part it. The counts, not their order, are a function of the documents alone. */
int count_words(struct word_counts *out, const struct pretoken *p, const struct added *cut,
                int (*next)(void *ctx, const char **text, int64_t *n, struct err *err), void *ctx, struct err *err);

#endif
