/* prompt: contexts, continuations and gaps to ids: with a small byte-level tokenizer of our own, and with the Llama-2
 * one when it is there (ids as its own library and the rule of the published evaluation give them). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "text/prompt.h"
#include "unit/scratch.h"
#include "test_data.h"

enum { MASK = 99, END = -1, MOST = 24 };

static const char small[] =
    "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 0, \"content\": \"<|endoftext|>\", \"special\": true, "
    "\"single_word\":"
    " false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false}], \"normalizer\": null, \"pre_tokenizer\": "
    "{\"type\":"
    " \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": "
    "null,"
    " \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,"
    " \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false,"
    " \"vocab\": {\"<|endoftext|>\": 0, \"a\": 1, \"b\": 2, \"c\": 3, \"\\u0120\": 4, \"\\u010a\": 5, \"\\u0120a\": 6, "
    "\"ab\": 7,"
    " \"[\": 8, \"]\": 9, \"1\": 10, \"\\u010a\\u010a\": 11, \"\\u0120\\u0120\": 12, "
    "\"\\u010a\\u0120\\u0120\": 13}, \"merges\": [\"\\u0120 a\", \"a b\", \"\\u010a \\u010a\", \"\\u0120 \\u0120\", "
    "\"\\u010a \\u0120\\u0120\"]}}";

static void must(int status, const struct err *err) {
    if (status < 0) fail_msg("%s", err->msg);
}

static void ids_are(struct ids *got, const int32_t *want, const char *what) {
    int64_t n = 0;
    while (want[n] != END) n++;
    for (int64_t i = 0; i < n || i < got->n; i++)
        if (i >= n || i >= got->n || got->v[i] != want[i])
            fail_msg("'%s': %lld ids, expected %lld; id %lld is %d", what, (long long)got->n, (long long)n,
                     (long long)i, i < got->n ? got->v[i] : END);
    got->n = 0;
}

struct pair {
    const char *context, *continuation;
    int32_t prefix[MOST], target[MOST];
};
struct gaps {
    const char *text;
    int32_t ids[MOST];
};

/* Marks that end an answer. */
static void marks(const struct tokenizer *t) {
    static const struct {
        const char *text;
        int32_t id;
    } cases[] = {
        {"<|endoftext|>", 0}, {"<|endoftext|>\n", 0}, {"<|endoftext|>a", -1}, {"aa \n", -1}, {" \n", -1}, {"", -1}};
    struct err err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t id = 99;
        must(prompt_mark(t, cases[i].text, &id, &err) < 0 ? -1 : 0, &err);
        if (id != cases[i].id) fail_msg("'%s': %d", cases[i].text, id);
    }
}

static void check(const struct tokenizer *t, bool begin, const struct pair *pairs, int npairs, const struct gaps *gaps,
                  int ngaps) {
    struct err err = {0};
    struct ids prefix = {0}, target = {0};
    for (int i = 0; i < npairs; i++) {
        must(prompt_pair(t, begin, pairs[i].context, pairs[i].continuation, &prefix, &target, &err), &err);
        ids_are(&prefix, pairs[i].prefix, pairs[i].context);
        ids_are(&target, pairs[i].target, pairs[i].continuation);
    }
    for (int i = 0; i < ngaps; i++) {
        must(prompt_gaps(t, gaps[i].text, MASK, &target, &err), &err);
        ids_are(&target, gaps[i].ids, gaps[i].text);
    }
    ids_free(&prefix);
    ids_free(&target);
}

static void byte_level(void **state) {
    (void)state;
    struct err err = {0};
    char *dir = scratch_new(), path[FILE_PATH_MAX];
    must(file_join(path, dir, "tokenizer.json", &err), &err);
    must(file_write(path, small, sizeof small - 1, &err), &err);
    struct tokenizer *t = tokenizer_load(path, &err);
    scratch_free(dir);
    must(t ? 0 : -1, &err);
    static const struct pair pairs[] = {
        {"c", " a", {3, END}, {6, END}}, {"c ", "a", {3, END}, {6, END}},    {"c \n", "a", {3, END}, {4, 5, 1, END}},
        {"a", "b", {1, END}, {END}}, /* a token that spans both: nothing is left beyond the context */
        {"", "ab", {0, END}, {7, END}},  {" ", "ab", {0, END}, {6, 2, END}},
    };
    static const struct gaps gaps[] = {
        {"a [[2]] ab", {1, MASK, MASK, 6, 2, END}},
        {"a[[2]]ab", {1, MASK, MASK, 7, END}},
        {"[[1]] a[[1]]", {MASK, 6, MASK, END}},
        {"[[1]][[2]]", {MASK, MASK, MASK, END}},
        {"[1] [[1]]", {8, 10, 9, MASK, END}},
        /* what the user wrote stays: line breaks and spaces that the tokenizer joins, but for one space before a gap */
        {"[[1]]\n\na", {MASK, 5, 5, 1, END}},
        {"ab[[1]]  ", {7, MASK, 12, END}},
        {"a\n\n[[1]]b", {1, 11, MASK, 2, END}},
        {"a  [[1]] [[1]]\n[[1]]", {1, 4, MASK, MASK, 5, MASK, END}},
    };
    check(t, true, pairs, sizeof pairs / sizeof *pairs, gaps, sizeof gaps / sizeof *gaps);
    marks(t);
    static const char *const bad[] = {"a [[b]]", "a [[0]] b", "a [[1]] [[]]", "a [[1] b", "a [[1",
                                      "a",       "",          "[[1]] [[ 1]]", "[[-1]]",   "[[99999999999999999999]]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ids ids = {0};
        err.msg[0] = 0;
        if (prompt_gaps(t, bad[i], MASK, &ids, &err) == 0) fail_msg("'%s' is taken for a text with gaps", bad[i]);
        assert_non_null(strstr(err.msg, "[[n]]"));
        ids_free(&ids);
    }
    tokenizer_free(t);
}

static void llama(void **state) {
    (void)state;
    struct err err = {0};
    const char *llama = test_data("data/llama_tokenizer/tokenizer.model");
    if (!llama) skip();
    struct tokenizer *t = tokenizer_load(llama, &err);
    must(t ? 0 : -1, &err);
    static const struct pair pairs[] = {
        {"The sky is", " blue", {1, 450, 14744, 338, END}, {7254, END}},
        {"The sky is ", "blue", {1, 450, 14744, 338, END}, {7254, END}},
        {"Question: why?\nAnswer:", " because\n", {1, 894, 29901, 2020, 29973, 13, 22550, 29901, END}, {1363, 13, END}},
        {"Two  \n\t", "spaces", {1, 7803, END}, {259, 13, 12, 22854, END}},
        {"", " hello", {1, END}, {29871, 22172, END}},
        {"caf\xc3\xa9\xc2\xa0\xe2\x80\x83", "au lait", {1, 274, 28059, END}, {30081, 30363, 585, 425, 277, END}},
    };
    static const struct gaps gaps[] = {
        {"A [[2]] of milk", {1, 319, MASK, MASK, 310, 27274, END}},
        {"[[1]] of milk", {1, MASK, 310, 27274, END}},
    };
    static const struct pair bare[] = {
        /* as lm-evaluation-harness asks a Llama */
        {"The sky is", " blue", {450, 14744, 338, END}, {7254, END}},
        {"Two  \n\t", "spaces", {7803, END}, {259, 13, 12, 22854, END}},
        {"", " hello", {1, END}, {29871, 22172, END}},
    };
    check(t, true, pairs, sizeof pairs / sizeof *pairs, gaps, sizeof gaps / sizeof *gaps);
    check(t, false, bare, sizeof bare / sizeof *bare, NULL, 0);
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(byte_level), cmocka_unit_test(llama)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
