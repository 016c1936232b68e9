/* generation: a text ends before its template's mark, be that a special token or letters; how texts are asked and taken over
 * two passes and turns is cli/test_eval_texts'. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "eval/generation.h"
#include "model/lm.h"
#include "text/chat.h"
#include "text/tokenizer.h"

enum { TEXT = 1024 };

static struct lm models[2]; /* an ARM, an MDM */
static struct err err;

static struct generation *begin(bool mdm, const char *until, int64_t length, uint64_t seed) {
    const struct generation_settings s = {.sampler = mdm ? &sampler_ancestral : &sampler_causal,
                                          .steps = 8,
                                          .length = length,
                                          .passes = 1,
                                          .batch = 1,
                                          .temperature = mdm ? 8 : 1,
                                          .until = until,
                                          .seed = seed};
    struct generation *g;
    if (generation_open(&g, &models[mdm], &s, &err) < 0) fail_msg("%s", err.msg);
    return g;
}

static struct chat prompt_of(const struct chat_template *t, int64_t n) {
    const struct chat_message m[] = {
        {CHAT_USER, "Add 2 and 3.", 12}, {CHAT_ASSISTANT, "5", 1}, {CHAT_USER, "And 4?", 6}};
    struct chat prompt = {0};
    if (chat_render(&prompt, t, NULL, m, n, &err) < 0) fail_msg("%s", err.msg);
    return prompt;
}

/* What the model writes with `until` as the mark. */
static void write_text(char out[TEXT], bool mdm, const char *until, uint64_t seed) {
    struct chat prompt = prompt_of(chat_find("plain", &err), 1);
    struct generation *g = begin(mdm, until, 40, seed);
    if (generation_add(g, &prompt, 0, &err) != 0 || generation_run(g, &err) != 0) fail_msg("%s", err.msg);
    snprintf(out, TEXT, "%s", generation_text(g, 0));
    generation_close(g);
    chat_free(&prompt);
}

/* White space at a mark's end is not looked for, and alone it is none. */
static void letters(void **state) {
    (void)state;
    enum { MARK = 8, SEED = 5 };
    char whole[TEXT], cut[TEXT], mark[MARK + 3];
    write_text(whole, false, "", SEED);
    const size_t n = strlen(whole);
    assert_true(n > 40 && n < TEXT - 1);
    for (size_t at = 0; at + MARK < n; at++) {
        if (strchr(" \n", whole[at + MARK - 1]) || (whole[at + MARK] & 0xc0) == 0x80 || (whole[at] & 0x80)) continue;
        snprintf(mark, sizeof mark, "%.*s \n", MARK, whole + at);
        write_text(cut, false, mark, SEED);
        mark[MARK] = 0;
        const size_t want = (size_t)(strstr(whole, mark) - whole);
        assert_int_equal(strlen(cut), want);
        assert_memory_equal(cut, whole, want);
    }
    write_text(cut, false, " \n", SEED);
    assert_string_equal(cut, whole);
}

/* A special token is not in the text that it ends. */
static void special(void **state) {
    (void)state;
    char whole[TEXT], cut[TEXT];
    for (int mdm = 0; mdm < 2; mdm++) {
        int ended = 0;
        for (uint64_t seed = 0; seed < 100; seed++) {
            write_text(whole, mdm, "", seed);
            write_text(cut, mdm, "<s>\n", seed);
            ended += strcmp(whole, cut) !=
                     0; /* what is left may be read otherwise: bytes of a character that were cut in two */
        }
        assert_in_range(ended, 1, 50);
    }
}

/* Behind an answer of the conversation stands the end id, but where the mark is that already. */
static void asked(void **state) {
    (void)state;
    struct chat_template t = *chat_find("plain", &err);
    int64_t ids[2] = {0};
    t.answer_after = "</s>\n";
    struct chat prompt = prompt_of(&t, 3);
    for (int k = 0; k < 2; k++)
        for (int more = 1; more == 1; ids[k]++) {
            struct generation *g = begin(false, k ? t.answer_after : "", ids[k] + 1, 0);
            more = generation_add(g, &prompt, 0, &err);
            generation_close(g);
        }
    assert_int_equal(ids[0], ids[1] + 1);
    chat_free(&prompt);
}

int main(void) {
    for (int mdm = 0; mdm < 2; mdm++) {
        const struct lm_args args = {.weights = mdm ? "tests/golden/loglik/mdm" : "tests/golden/loglik/llama",
                                     .tokenizer = "tests/golden/tokenizers/llama.json",
                                     .family = mdm ? FAMILY_MDM : FAMILY_ARM,
                                     .precision = DTYPE_F32,
                                     .threads = 1};
        if (lm_open(&models[mdm], &args, true, &err) == 0) continue;
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(letters), cmocka_unit_test(special), cmocka_unit_test(asked)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int mdm = 0; mdm < 2; mdm++) lm_close(&models[mdm]);
    return failed;
}
