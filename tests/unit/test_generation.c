/* generation: a text ends before its template's mark, be that one token or several; how texts are asked and taken over two
 * passes and turns is cli/test_eval_texts'. */
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

static struct lm model;

/* What the model writes, by a seed of which it does not come to an end id; with `until` as the mark. */
static void write_text(char *out, size_t size, const char *until) {
    struct err err = {{0}};
    struct chat prompt = {0};
    struct generation *g;
    const struct generation_settings s = {
        .sampler = &sampler_causal, .length = 40, .passes = 1, .batch = 1, .temperature = 1, .until = until, .seed = 5};
    const struct chat_message m = {CHAT_USER, "Add 2 and 3.", 12};
    if (chat_render(&prompt, chat_find("plain", &err), NULL, &m, 1, &err) < 0 ||
        generation_open(&g, &model, &s, &err) < 0 || generation_add(g, &prompt, 0, &err) != 0 ||
        generation_run(g, &err) != 0)
        fail_msg("%s", err.msg);
    snprintf(out, size, "%s", generation_text(g, 0));
    generation_close(g);
    chat_free(&prompt);
}

static void marks(void **state) {
    (void)state;
    char whole[1024], cut[1024], mark[64];
    write_text(whole, sizeof whole, "");
    const size_t n = strlen(whole);
    assert_true(n > 40 && n < sizeof whole - 1);
    /* Of one letter, which is mostly one token, and of eight, which are several; white space at a mark's end is not looked for. */
    for (size_t bytes = 1; bytes <= 8; bytes += 7)
        for (size_t at = 0; at + bytes < n; at++) {
            if (strchr(" \n", whole[at + bytes - 1]) || (whole[at + bytes] & 0xc0) == 0x80 || (whole[at] & 0x80))
                continue;
            snprintf(mark, sizeof mark, "%.*s \n", (int)bytes, whole + at);
            write_text(cut, sizeof cut, mark);
            mark[bytes] = 0;
            const size_t want = (size_t)(strstr(whole, mark) - whole);
            assert_int_equal(strlen(cut), want);
            assert_memory_equal(cut, whole, want);
        }
    write_text(cut, sizeof cut, " \n"); /* no mark: nothing ends at a space */
    assert_string_equal(cut, whole);
}

int main(void) {
    struct err err = {{0}};
    const struct lm_args args = {.weights = "tests/golden/loglik/llama",
                                 .tokenizer = "tests/golden/tokenizers/llama.json",
                                 .family = FAMILY_ARM,
                                 .precision = DTYPE_F32,
                                 .threads = 1};
    if (lm_open(&model, &args, true, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(marks)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lm_close(&model);
    return failed;
}
