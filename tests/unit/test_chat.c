/* chat: every template against texts written out by hand, pieces and who speaks in them, turns that are out of order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "text/chat.h"

#define VICUNA                                                                                                         \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "  \
    "and polite answers to the user's questions."
enum { MOST = 5 };

struct message {
    const char *role, *text;
};

static struct err err;
static struct chat chat;

static int render(const char *name, const char *system, const struct message *m) {
    struct chat_message messages[MOST];
    int n = 0;
    for (; n < MOST && m[n].role; n++)
        messages[n] =
            (struct chat_message){(enum chat_role)chat_role(m[n].role), m[n].text, (int64_t)strlen(m[n].text)};
    const struct chat_template *t = chat_find(name, &err);
    assert_non_null(t);
    err.msg[0] = 0;
    return chat_render(&chat, t, system, messages, n, &err);
}

/* want: the pieces; prompts and answers by turns, answers with '$' behind them where the end id follows. */
static void pieces_are(const char *name, const char *system, const struct message *m, const char *const *want) {
    if (render(name, system, m) < 0) fail_msg("%s: %s", name, err.msg);
    for (int64_t i = 0; i < chat.n || want[i]; i++) {
        if (i == chat.n || !want[i]) fail_msg("%s: %lld pieces", name, (long long)chat.n);
        char got[1024];
        const struct chat_piece *p = &chat.pieces[i];
        snprintf(got, sizeof got, "%.*s%s", (int)p->n, chat.text.v + p->start, p->end ? "$" : "");
        if (strcmp(got, want[i])) fail_msg("%s piece %lld: '%s', expected '%s'", name, (long long)i, got, want[i]);
        assert_int_equal(p->answer, i % 2);
    }
}

static const struct message one[] = {{"user", "Hi"}, {0}}, two[] = {{"human", "Hi"}, {"gpt", "Hello!"}, {0}},
                            four[] = {{"system", "Be brief."},
                                      {"user", "Hi"},
                                      {"assistant", "Yes?"},
                                      {"user", "2+2?"},
                                      {"assistant", "4"}};

static void templates(void **state) {
    (void)state;
    pieces_are("vicuna", NULL, one, (const char *[]){VICUNA " USER: Hi ASSISTANT:", NULL});
    pieces_are("vicuna", NULL, two, (const char *[]){VICUNA " USER: Hi ASSISTANT:", "Hello!$", NULL});
    pieces_are("vicuna", "Rhyme.", two, (const char *[]){"Rhyme. USER: Hi ASSISTANT:", "Hello!$", NULL});
    pieces_are("vicuna", "", one, (const char *[]){"USER: Hi ASSISTANT:", NULL});
    pieces_are("vicuna", "Rhyme.", four,
               (const char *[]){"Be brief. USER: Hi ASSISTANT:", "Yes?$", "USER: 2+2? ASSISTANT:", "4$", NULL});
    pieces_are("chatml", NULL, one, (const char *[]){"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", NULL});
    pieces_are("chatml", NULL, four,
               (const char *[]){"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                                "<|im_start|>assistant\n",
                                "Yes?<|im_end|>\n$", "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
                                "4<|im_end|>\n$", NULL});
    pieces_are("llama-2", NULL, two, (const char *[]){"[INST] Hi [/INST]", "Hello! $", NULL});
    pieces_are("llama-2", NULL, four,
               (const char *[]){"[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]", "Yes? $", "[INST] 2+2? [/INST]",
                                "4 $", NULL});
    pieces_are("plain", NULL, two, (const char *[]){"Hi", "Hello!$", NULL});
    pieces_are("plain", "Note.", one, (const char *[]){"Note.\nHi", NULL});
    for (const struct chat_template *t = chat_templates; t->name; t++) /* none is left out of the cases above */
        assert_true(!strcmp(t->name, "vicuna") || !strcmp(t->name, "chatml") || !strcmp(t->name, "llama-2") ||
                    !strcmp(t->name, "plain"));
}

/* A message may hold any byte. */
static void zero_byte(void **state) {
    (void)state;
    const struct chat_message m = {CHAT_USER, "a\0b", 3};
    assert_int_equal(chat_render(&chat, chat_find("plain", &err), NULL, &m, 1, &err), 0);
    assert_int_equal(chat.n, 1);
    assert_int_equal(chat.pieces[0].n, 3);
    assert_memory_equal(chat.text.v, "a\0b", 3);
}

static void refused(const struct message *m, const char *why) {
    assert_int_equal(render("vicuna", NULL, m), -1);
    if (!strstr(err.msg, why)) fail_msg("'%s' lacks '%s'", err.msg, why);
}

static void refusals(void **state) {
    (void)state;
    refused((const struct message[]){{0}}, "without messages");
    refused((const struct message[]){{"system", "a"}, {0}}, "without messages");
    refused((const struct message[]){{"gpt", "a"}, {0}}, "message 1: expected the user to speak, found the assistant");
    refused((const struct message[]){{"user", "a"}, {"user", "b"}, {0}}, "message 2: expected the assistant");
    refused((const struct message[]){{"user", "a"}, {"system", "b"}, {0}}, "found the system");
    refused((const struct message[]){{"system", "a"}, {"system", "b"}, {0}}, "message 2: expected the user");
    assert_int_equal(chat_role("tool"), -1);
    assert_null(chat_find("alpaca", &err));
    assert_string_equal(err.msg, "no chat template is called 'alpaca'; expected one of vicuna|chatml|llama-2|plain");
}

static void memory(void **state) {
    (void)state;
    for (long n = 1;; n++) {
        chat_free(&chat);
        fault_set(FAULT_ALLOC, n, false);
        const int r = render("llama-2", NULL, four);
        const bool reached = fault_count(FAULT_ALLOC) >= n;
        fault_set(FAULT_ALLOC, 0, false);
        if (!reached) break;
        assert_int_equal(r, -1);
        assert_true(err.msg[0]);
    }
    chat_free(&chat);
    assert_int_equal(mem_in_use(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates),
        cmocka_unit_test(zero_byte),
        cmocka_unit_test(refusals),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
