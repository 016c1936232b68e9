/* hf_load: the files of the tokenizers library: `tokenizer.json` (BPE models), and `vocab.json` with the `merges.txt`
 * beside it. */
#ifndef MDM_TEXT_HF_LOAD_H
#define MDM_TEXT_HF_LOAD_H
#include <stdint.h>

struct err;
struct rules;

/* Fill fresh rules from the bytes of a file. `path` tells where the files beside it are; what is read of them and decides
 * ids is added to *digest (base/hash.h). The rules are the caller's to free, also after a failure. */
int hf_load(struct rules *r, const char *data, int64_t n, const char *path, uint64_t *digest, struct err *err);

#endif
