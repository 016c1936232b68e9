/* bpe_train: learns a byte-level BPE vocabulary from texts. */
#ifndef MDM_TEXT_BPE_TRAIN_H
#define MDM_TEXT_BPE_TRAIN_H
#include <stdint.h>

struct err;

/* Train byte-level BPE (GPT-2 pre-tokenisation) on texts and write a `tokenizer.json` that the tokenizers library loads
 * with the same ids. next() gives one document per call: 1 and its bytes (valid until the next call), 0 at the end, -1
 * with err. Special tokens get ids 0, 1, … in the order given; the end token is known by its name ("<|endoftext|>",
 * "</s>"). Ties between pair counts go to the pair with the smaller ids, so the result is a function of the text. */
struct bpe_train_settings {
    int64_t vocab_size;          /* 256 + special tokens … 1,000,000, both included */
    int64_t min_count;           /* pairs rarer than this are not merged; 0 is 1 */
    const char *const *specials; /* NULL-terminated */
};
int bpe_train(const char *out_path, const struct bpe_train_settings *s,
              int (*next)(void *ctx, const char **text, int64_t *n, struct err *err), void *ctx, struct err *err);

#endif
