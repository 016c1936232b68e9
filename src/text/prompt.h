/* prompt: texts to the ids that a model is asked with: a begin id in front, a context and its continuation, a text with
 * gaps. */
#ifndef MDM_TEXT_PROMPT_H
#define MDM_TEXT_PROMPT_H
#include "text/tokenizer.h"

/* The ids of text[n], behind the begin id if the tokenizer has one (Llama); a token that is both begin and end id
 * (GPT-2) is not put in front, as in its own library. All functions that take `out` append. */
int prompt_encode(const struct tokenizer *t, const char *text, int64_t n, struct ids *out, struct err *err);

/* A template's mark of an answer's end (chat.h, answer_after): its bytes without white space at its end, 0: none; *id: the one
 * token that they are, -1: none, or several. Where it is the end id itself, no other follows. -1 with err. */
int64_t prompt_mark(const struct tokenizer *t, const char *text, int32_t *id, struct err *err);

/* As the published evaluation does (docs/formats.md, "Questions"): trailing white space of the context moves to the continuation; the
 * target is what context + continuation has beyond the ids of the context (nothing where one token spans both), both
 * with the begin id. A prefix that would be empty is the end id (if there is one), which is what stands before a document
 * in training. Without `begin`, as lm-evaluation-harness does: no begin id, but for a context that is empty. */
int prompt_pair(const struct tokenizer *t, bool begin, const char *context, const char *continuation,
                struct ids *prefix, struct ids *target, struct err *err);

/* A text in which each [[n]] is a gap of n tokens: `mask` n times. One space before a gap is dropped: tokens carry the
 * space before their word themselves. All else is kept. A text without a gap, and "[[" that begins none, are errors. */
int prompt_gaps(const struct tokenizer *t, const char *text, int32_t mask, struct ids *out, struct err *err);

#endif
