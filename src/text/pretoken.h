/* pretoken: cuts a text into the pieces inside which merges may happen ("pre-tokenisers" of tokenizer.json).
 *
 * A list of steps; each cuts the pieces of the one before. Pieces are handed to a callback one after another, as slices
 * of the text or of a scratch buffer (valid during the call only). Kinds: ByteLevel, Split, Digits, Whitespace,
 * WhitespaceSplit, Punctuation, CharDelimiterSplit, Metaspace, Sequence of these. Others are refused by name. */
#ifndef MDM_TEXT_PRETOKEN_H
#define MDM_TEXT_PRETOKEN_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buffer.h"

struct err;
struct pattern;
struct pattern_scratch;

#define PRETOKEN_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

enum pretoken_cut { CUT_ISOLATED, CUT_REMOVED, CUT_WITH_PREVIOUS, CUT_WITH_NEXT, CUT_CONTIGUOUS };
enum pretoken_prefix { PREFIX_NEVER, PREFIX_ALWAYS, PREFIX_FIRST }; /* FIRST: only at the very start of the text */

enum { PRETOKEN_STEPS = 16 };
struct pretoken_step {
    char space[8]; /* what a space becomes and the prefix is made of: " " (ByteLevel), "▁" (Metaspace); "": neither */
    enum pretoken_prefix prefix;
    struct pattern *pattern; /* NULL: no cut */
    enum pretoken_cut cut;
    bool invert; /* the pattern says what lies between the cuts */
};
struct pretoken {
    struct pretoken_step step[PRETOKEN_STEPS];
    int n;
    bool byte_level; /* the vocabulary's texts are in GPT-2's spelling of bytes */
};
struct pretoken_scratch {
    struct bytes text[PRETOKEN_STEPS];
    struct pattern_scratch *match;
};

/* From the "pre_tokenizer" member (NULL or JSON null: nothing is cut). Frees what it made on failure. */
int pretoken_load(struct pretoken *p, const json_t *v, struct err *err);
int pretoken_gpt2(struct pretoken *p, struct err *err); /* ByteLevel without prefix: vocab.json + merges.txt */
void pretoken_free(struct pretoken *p);
int pretoken_scratch_init(struct pretoken_scratch *s, struct err *err);
void pretoken_scratch_free(struct pretoken_scratch *s);

typedef int pretoken_emit(void *ctx, const char *text, int64_t n, struct err *err);
/* Hand all pieces of well-formed text to emit, in order. `first`: text is the start of the document. Stops and returns
 * -1 when emit does. */
int pretoken_run(const struct pretoken *p, struct pretoken_scratch *s, const char *text, int64_t n, bool first,
                 pretoken_emit *emit, void *ctx, struct err *err);

/* GPT-2's spelling of bytes as printable characters: code point of byte b, and back (-1: none). */
int32_t byte_level_char(int byte);
int byte_level_byte(int32_t cp);

#endif
