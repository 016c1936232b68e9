/* chat: conversations to the text that a model reads, by a table of templates.
 *
 *     struct chat c = {0};
 *     const struct chat_message m[] = {{CHAT_USER, "Hi", 2}, {CHAT_ASSISTANT, "Hello!", 6}};
 *     chat_render(&c, chat_find("vicuna", &err), NULL, m, 2, &err);
 *     // piece 0: "A chat between … questions. USER: Hi ASSISTANT:"   piece 1, an answer: "Hello!", then the end id
 *     chat_free(&c);
 *
 * The text comes in pieces because fine-tuning sets tokenise them one by one and learn from the answers alone; a
 * conversation that ends with the user's message ends with a piece that asks for an answer. No piece starts with white
 * space that a tokenizer would put there itself: generation asks with the same pieces. */
#ifndef MDM_TEXT_CHAT_H
#define MDM_TEXT_CHAT_H
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_ROLES };

struct chat_message {
    enum chat_role role;
    const char *text; /* n bytes */
    int64_t n;
};

struct chat_template {
    const char *name;
    const char *system;                       /* the sentence a conversation starts with unless told; "": none */
    const char *system_before, *system_after; /* around it, if it is not empty */
    bool system_inside;                       /* it stands behind user_before of the first message, not before it */
    const char *user_before, *user_after;
    const char *answer_before; /* asks for the answer */
    const char *answer_after;  /* part of the answer: what ends it, in text */
    bool answer_end;           /* the end id follows an answer (but: prompt_mark()) */
};
/* vicuna (v1.1, the default), chatml, llama-2, plain; a NULL name ends the table. */
extern const struct chat_template chat_templates[];
const char *chat_names(void); /* with '|' between: for option tables */
/* The template of that name, or NULL with err, which lists them. */
const struct chat_template *chat_find(const char *name, struct err *err);
/* "system", "user" or "human", "assistant" or "gpt"; -1: another name. */
int chat_role(const char *name);

struct chat_piece {
    bool answer;      /* the assistant speaks: a fine-tuning set learns this piece */
    bool end;         /* the end id follows */
    int64_t start, n; /* bytes of text */
};
struct chat { /* zero-initialise; chat_free() */
    struct bytes text;
    struct chat_piece *pieces;
    int64_t n, capacity;
};
/* User and assistant must take turns and the user begins, behind at most one system message; else an error that counts
 * messages from 1. */
int chat_check(const struct chat_message *messages, int64_t n, struct err *err);
/* Messages that chat_check() accepts to pieces, in place of what `out` held: prompt and answer by turns. `system` NULL: the
 * template's sentence; a system message in front replaces both. */
int chat_render(struct chat *out, const struct chat_template *t, const char *system,
                const struct chat_message *messages, int64_t n, struct err *err);
/* What was written to c->text since the last piece becomes a piece: for texts that no template makes. */
int chat_cut(struct chat *c, bool answer, bool end, struct err *err);
void chat_free(struct chat *c);

#endif
