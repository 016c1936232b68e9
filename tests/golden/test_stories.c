/* A real trained model in Hugging Face's form (grouped heads, tied head): its greedy text, character for character,
 * from the f32 and from the bf16 file, in f32 arithmetic. Needs data/stories260k of the test data (tests/test_data.h). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "compute/gemm.h"
#include "infer/engine.h"
#include "infer/scheduler.h"
#include "text/prompt.h"
#include "model/weights.h"
#include "text/tokenizer.h"
#include "test_data.h"

enum { TOKENS = 201 }; /* the begin id and 200 more */

static void must(int status, const struct err *err) {
    if (status < 0) fail_msg("%s", err->msg);
}

static const char *in(const char *folder, const char *name) {
    static char paths[2][4096];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* How much of the expected text comes out. */
static void check(const char *folder, const char *weights_file, const char *want, size_t n, size_t must_agree) {
    struct err err = {0};
    struct weights w;
    struct engine e;
    struct ids prompt = {0};
    struct bytes text = {0};
    int32_t ids[TOKENS];
    struct tokenizer *t = tokenizer_load(in(folder, "tok512.bin"), &err);
    must(t ? 0 : -1, &err);
    must(weights_load(&w, in(folder, weights_file), in(folder, "config.json"), FAMILY_ARM, &err), &err);
    must(engine_open(&e, &w, &(struct engine_settings){.max_rows = TOKENS}, &err), &err);
    must(prompt_encode(t, "", 0, &prompt, &err), &err);
    assert_int_equal(prompt.n, 1);
    ids[0] = prompt.v[0];
    struct scheduler *s;
    struct request r = {
        .sampler = &sampler_causal, .ids = ids, .n = 1, .room = TOKENS, .steps = TOKENS, .end_id = tokenizer_eos(t)};
    must(scheduler_open(&s, &e, SCHEDULER_STORES, &err), &err);
    must(scheduler_add(s, &r, &err), &err);
    must(scheduler_run(s, &err), &err);
    scheduler_close(s);
    must(tokenizer_decode(t, ids, r.n, false, &text, &err), &err);
    size_t same = 0;
    while (same < n && same < (size_t)text.n && text.v[same] == want[same]) same++;
    printf("%s: %zu of %zu characters agree\n", weights_file, same, n);
    if (same < must_agree) fail_msg("the text goes on: %.60s", text.v + same);
    bytes_free(&text);
    ids_free(&prompt);
    engine_close(&e);
    weights_free(&w);
    tokenizer_free(t);
}

static void greedy_text(void **state) {
    (void)state;
    struct err err = {0};
    char *want;
    size_t n;
    const char *folder = test_data("data/stories260k");
    if (!folder) skip();
    must(file_read(&want, &n, in(folder, "expected_greedy_200.txt"), 1 << 16, &err), &err);
    while (n > 0 && want[n - 1] == '\n') n--;
    check(folder, "model_hf_f32.safetensors", want, n, n);
    check(folder, "model_hf_bf16.safetensors", want, n, 100);
    mem_free(want);
}

int main(void) {
    struct err err = {0};
    if (kernels_init(&err) < 0 || gemm_init(1, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
