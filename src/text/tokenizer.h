/* tokenizer: bytes <-> token ids, for every tokenizer file the program reads.
 *
 *     struct tokenizer *t = tokenizer_load("tokenizer.json", &err);
 *     struct ids ids = {0};
 *     tokenizer_encode(t, text, strlen(text), &ids, &err);      // appends
 *     tokenizer_decode(t, ids.v, ids.n, false, &out, &err);
 *
 * Reads SentencePiece `tokenizer.model` (BPE with byte fallback: Llama-2), Hugging Face `tokenizer.json` of BPE type
 * (byte fallback or byte level: TinyLlama, GPT-2, Qwen, LLaDA), a folder that holds one of them, `vocab.json` +
 * `merges.txt`, and the small `tok512.bin` form of llama2.c. The kind is told from the content. Thread-safe after
 * loading: encode and decode take const; their buffers belong to the tokenizer, one set per call under way. */
#ifndef MDM_TEXT_TOKENIZER_H
#define MDM_TEXT_TOKENIZER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"

struct err;
struct tokenizer;

struct tokenizer *tokenizer_load(const char *path, struct err *err);
/* Is it the one in `folder`, perhaps in another form: about as many ids, nearly all with the same texts? So it is where
 * the folder has none that can be read. */
int tokenizer_suits(const struct tokenizer *t, const char *folder, struct err *err);
/* Of the model or data in `folder`: its own, NULL when there is none, which is no error; or the one that is named,
 * which must suit. */
int tokenizer_load_for(struct tokenizer **t, const char *named, const char *folder, struct err *err);
void tokenizer_free(struct tokenizer *t); /* NULL is fine */

/* Append the ids of text (any bytes; invalid UTF-8 is defined in docs/formats.md) without begin or end id. Texts of
 * special tokens inside `text` become those tokens, as the tokenizers library does with its default settings. */
int tokenizer_encode(const struct tokenizer *t, const char *text, int64_t n, struct ids *out, struct err *err);
/* Append the text of ids, always well-formed UTF-8: bytes that make no character (yet) become U+FFFD, as the file's own
 * library does it. Special tokens (begin, end, mask, …) are left out unless keep_special. An id outside the vocabulary
 * is an error. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int64_t n, bool keep_special, struct bytes *out,
                     struct err *err);

int64_t tokenizer_vocab_size(const struct tokenizer *t); /* largest id + 1 */
int32_t tokenizer_bos(const struct tokenizer *t);        /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *t);
/* Hex digest (64-bit FNV-1a) that names the tokenizer in manifests: of the file's bytes, and of the begin and end ids
 * where a tokenizer_config.json beside the file makes them others than the file alone would. */
const char *tokenizer_digest(const struct tokenizer *t);
/* Path of the file loaded: a folder is resolved to the file inside. */
const char *tokenizer_path(const struct tokenizer *t);
/* The name under which a folder's tokenizer of this kind is looked for: tokenizer.json, tokenizer.model, vocab.json or
 * tokenizer.bin. */
const char *tokenizer_name(const struct tokenizer *t);
/* Has the folder a file of one of these names? */
bool tokenizer_there(const char *dir);
/* Copy the file into folder `dir` as tokenizer_name(), with what it leans on in its folder: merges.txt,
 * tokenizer_config.json, special_tokens_map.json. Files already there with the same bytes are left alone; others of these
 * names are an error, and nothing is copied. */
int tokenizer_copy(const struct tokenizer *t, const char *dir, struct err *err);

#endif
