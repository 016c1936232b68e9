/* chat: the table of templates and the loop that fills one in. What a template's marks are as tokens is the
 * tokenizer's affair. */
#include "text/chat.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"

const struct chat_template chat_templates[] = {
    {.name = "vicuna",
     .system = "A chat between a curious user and an artificial intelligence assistant. "
               "The assistant gives helpful, detailed, and polite answers to the user's questions.",
     .system_before = "",
     .system_after = " ",
     .user_before = "USER: ",
     .user_after = " ",
     .answer_before = "ASSISTANT:",
     .answer_after = "",
     .answer_end = true},
    {.name = "chatml",
     .system = "",
     .system_before = "<|im_start|>system\n",
     .system_after = "<|im_end|>\n",
     .user_before = "<|im_start|>user\n",
     .user_after = "<|im_end|>\n",
     .answer_before = "<|im_start|>assistant\n",
     .answer_after = "<|im_end|>\n",
     .answer_end = true},
    {.name = "llama-2",
     .system = "",
     .system_before = "<<SYS>>\n",
     .system_after = "\n<</SYS>>\n\n",
     .system_inside = true,
     .user_before = "[INST] ",
     .user_after = " ",
     .answer_before = "[/INST]",
     .answer_after = " ",
     .answer_end = true},
    {.name = "plain",
     .system = "",
     .system_before = "",
     .system_after = "\n",
     .user_before = "",
     .user_after = "",
     .answer_before = "",
     .answer_after = "",
     .answer_end = true},
    {0},
};

static const struct {
    const char *name;
    enum chat_role role;
} role_names[] = {{"system", CHAT_SYSTEM},
                  {"user", CHAT_USER},
                  {"human", CHAT_USER},
                  {"assistant", CHAT_ASSISTANT},
                  {"gpt", CHAT_ASSISTANT}};

int chat_role(const char *name) {
    for (size_t i = 0; i < sizeof role_names / sizeof *role_names; i++)
        if (!strcmp(name, role_names[i].name)) return role_names[i].role;
    return -1;
}

const char *chat_names(void) {
    static char names[OPT_NAMES];
    return opt_names(names, chat_templates, sizeof *chat_templates);
}

const struct chat_template *chat_find(const char *name, struct err *err) {
    for (const struct chat_template *t = chat_templates; t->name; t++)
        if (!strcmp(t->name, name)) return t;
    err_set(err, "no chat template is called '%s'; expected one of %s", name, chat_names());
    return NULL;
}

static int text(struct chat *c, const char *s, struct err *err) {
    return bytes_push(&c->text, s, (int64_t)strlen(s), err);
}

int chat_cut(struct chat *c, bool answer, bool end, struct err *err) {
    const int64_t start = c->n ? c->pieces[c->n - 1].start + c->pieces[c->n - 1].n : 0;
    if (mem_grow(&c->pieces, &c->capacity, c->n + 1, sizeof *c->pieces, "pieces of a conversation", err) < 0) return -1;
    c->pieces[c->n++] = (struct chat_piece){answer, end, start, c->text.n - start};
    return 0;
}

static int system_text(struct chat *c, const struct chat_template *t, const char *s, int64_t n, struct err *err) {
    if (n == 0) return 0;
    if (text(c, t->system_before, err) < 0 || bytes_push(&c->text, s, n, err) < 0) return -1;
    return text(c, t->system_after, err);
}

/* A user's message and the request for an answer; before the first one the system's n bytes, before later ones 0. */
static int prompt_text(struct chat *c, const struct chat_template *t, const char *system, int64_t n,
                       const struct chat_message *m, struct err *err) {
    if (!t->system_inside && system_text(c, t, system, n, err) < 0) return -1;
    if (text(c, t->user_before, err) < 0) return -1;
    if (t->system_inside && system_text(c, t, system, n, err) < 0) return -1;
    if (bytes_push(&c->text, m->text, m->n, err) < 0 || text(c, t->user_after, err) < 0 ||
        text(c, t->answer_before, err) < 0)
        return -1;
    return chat_cut(c, false, false, err);
}

static int answer_text(struct chat *c, const struct chat_template *t, const struct chat_message *m, struct err *err) {
    if (bytes_push(&c->text, m->text, m->n, err) < 0 || text(c, t->answer_after, err) < 0) return -1;
    return chat_cut(c, true, t->answer_end, err);
}

int chat_check(const struct chat_message *messages, int64_t n, struct err *err) {
    static const char *const speaker[CHAT_ROLES] = {"the system", "the user", "the assistant"};
    const bool own = n > 0 && messages[0].role == CHAT_SYSTEM;
    if (n == own) return err_set(err, "a conversation without messages");
    for (int64_t i = own; i < n; i++) {
        const enum chat_role turn = (i - own) % 2 ? CHAT_ASSISTANT : CHAT_USER;
        if (messages[i].role != turn)
            return err_set(err, "message %lld: expected %s to speak, found %s", (long long)i + 1, speaker[turn],
                           speaker[messages[i].role]);
    }
    return 0;
}

int chat_render(struct chat *out, const struct chat_template *t, const char *system,
                const struct chat_message *messages, int64_t n, struct err *err) {
    const bool own = n > 0 && messages[0].role == CHAT_SYSTEM;
    const char *sentence = own ? messages[0].text : system ? system : t->system;
    const int64_t length = own ? messages[0].n : (int64_t)strlen(sentence);
    out->text.n = out->n = 0;
    if (chat_check(messages, n, err) < 0) return -1;
    for (int64_t i = own; i < n; i++)
        if (messages[i].role == CHAT_USER ? prompt_text(out, t, sentence, i == own ? length : 0, &messages[i], err) < 0
                                          : answer_text(out, t, &messages[i], err) < 0)
            return -1;
    return 0;
}

void chat_free(struct chat *c) {
    bytes_free(&c->text);
    mem_free(c->pieces);
    *c = (struct chat){0};
}
