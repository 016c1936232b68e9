/* bpe: the merge engine of byte-pair encoding.
 *
 * Symbols are token ids. A table says which pairs merge, into what, and how early (rank, small first). bpe_merge()
 * merges again and again the pair of the smallest rank, the leftmost of them, until none is left: the order both
 * SentencePiece (rank by score) and the tokenizers library (rank by place in the list of merges) follow. */
#ifndef MDM_TEXT_BPE_H
#define MDM_TEXT_BPE_H
#include <stdint.h>

struct err;

struct bpe_pair {
    uint64_t key; /* left << 32 | right, plus 1; 0: empty */
    int32_t rank, id;
};
struct bpe {
    struct bpe_pair *slot;
    uint64_t mask;
    int64_t n;
};
struct bpe_scratch; /* buffers for long words; grows, one per thread */

int bpe_init(struct bpe *b, int64_t pairs, struct err *err);                        /* room for that many bpe_add()s */
void bpe_add(struct bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id); /* the last of equal pairs counts */
void bpe_free(struct bpe *b);
/* The entry of a pair, or NULL. */
const struct bpe_pair *bpe_find(const struct bpe *b, int32_t left, int32_t right);

struct bpe_scratch *bpe_scratch_new(struct err *err);
void bpe_scratch_free(struct bpe_scratch *s);
/* Merge ids[0..n) in place; returns how many are left, -1 with err. */
int64_t bpe_merge(const struct bpe *b, struct bpe_scratch *s, int32_t *ids, int64_t n, struct err *err);

#endif
