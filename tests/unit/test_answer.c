/* answer: every case of tests/golden/answers.tsv, both ways round, and bytes that are no answer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/jsonl.h"
#include "eval/answer.h"
#include "test_data.h"

#define CASES "tests/golden/answers.tsv"

/* \n, \r and \t of the file, in place. */
static void unescape(char *s) {
    char *to = s;
    for (; *s; s++) {
        const char *kind = *s == '\\' ? strchr("nrt", s[1]) : NULL;
        *to++ = !kind || !*kind ? *s : *kind == 'n' ? '\n' : *kind == 'r' ? '\r' : '\t';
        s += kind && *kind;
    }
    *to = 0;
}

static int check(const char *kind, char *a, char *b) {
    const char *found;
    int64_t length;
    if (!strcmp(kind, "same") || !strcmp(kind, "different")) {
        const bool want = *kind == 's';
        return answer_equal(a, (int64_t)strlen(a), b, (int64_t)strlen(b)) == want &&
               answer_equal(b, (int64_t)strlen(b), a, (int64_t)strlen(a)) == want;
    }
    unescape(a);
    if (!strcmp(kind, "none")) return !answer_find(a, (int64_t)strlen(a), &found, &length);
    assert_string_equal(kind, "find");
    return answer_find(a, (int64_t)strlen(a), &found, &length) && length == (int64_t)strlen(b) &&
           memcmp(found, b, strlen(b)) == 0;
}

static void cases(void **state) {
    (void)state;
    char line[1024];
    int number = 0, bad = 0, done = 0;
    FILE *f = fopen(CASES, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        number++;
        if (*line == '#') continue;
        line[strcspn(line, "\n")] = 0;
        char *a = strchr(line, '\t'), *b = a ? strchr(a + 1, '\t') : NULL;
        assert_non_null(b);
        *a++ = *b++ = 0;
        done++;
        if (!check(line, a, b)) {
            print_error("%s line %d: not %s: '%s' '%s'\n", CASES, number, line, a, b);
            bad++;
        }
    }
    fclose(f);
    assert_true(done >= 200);
    assert_int_equal(bad, 0);
}

static void numbers(void **state) {
    (void)state;
    assert_true(answer_equal("-$1,234.50 a day", 16, "-1234.5", 7));
    assert_true(answer_equal("1 3/4 cups", 10, "1.75", 4));
    assert_false(answer_equal("", 0, "", 0));
}

/* Long answers and deep braces are compared as they are; a zero byte ends nothing. */
static void limits(void **state) {
    (void)state;
    char longest[600], other[600];
    memset(longest, '7', sizeof longest);
    memcpy(other, longest, sizeof other);
    assert_true(answer_equal(longest, sizeof longest, other, sizeof other));
    assert_false(answer_equal(longest, sizeof longest, other, sizeof other - 1));
    other[300] = '8';
    assert_false(answer_equal(longest, sizeof longest, other, sizeof other));
    memset(longest, '{', 40);
    assert_false(answer_equal(longest, 40, "5", 1));
    for (int n = 6; n < 300; n++) { /* around the longest that is read, as number and as text */
        memset(longest, '1', sizeof longest);
        assert_true(answer_equal(longest, n, longest, n));
        memcpy(longest, "\\frac", 5);
        memset(longest + 5, 'x', sizeof longest - 5);
        assert_true(answer_equal(longest, n, longest, n));
    }
}

static void noise(void **state) {
    (void)state;
    static const char *const pieces[] = {"\\frac", "\\sqrt", "{", "}",       "[", "]",  "1",    "23",   ",",
                                         ".",      "/",      "$", "\\text{", "%", "-",  "*",    "10^",  "(",
                                         ")",      "=",      " ", "e5",      "m", "\\", "\xc2", "####", "\n"};
    uint32_t r = 1;
    int ones = 0;
    for (int turn = 0; turn < 200000; turn++) {
        char s[64] = "", *copy;
        size_t n = 0;
        for (int i = 0; i < 8; i++) {
            const char *p = pieces[(r = r * 1664525 + 1013904223) >> 8 & 31 ? (r >> 8) % 27 : 0];
            if (n + strlen(p) < sizeof s) memcpy(s + n, p, strlen(p)), n += strlen(p);
        }
        copy = malloc(n ? n : 1); /* no byte behind the end, so that a sanitizer sees a step too far */
        memcpy(copy, s, n);
        const char *found;
        int64_t length;
        if (answer_find(copy, (int64_t)n, &found, &length)) assert_true(found >= copy && found + length <= copy + n);
        const bool one = answer_equal(copy, (int64_t)n, "1", 1);
        assert_int_equal(answer_equal("1", 1, copy, (int64_t)n), one);
        assert_true(!one || answer_equal(copy, (int64_t)n, s, (int64_t)n));
        ones += one;
        free(copy);
    }
    assert_true(ones > 0); /* 66 of them */
}

/* The published problems: every solution has an answer, the one that stands beside it. */
static void published(void **state) {
    (void)state;
    const char *path = test_data("data/gsm8k/test.jsonl");
    struct err err;
    json_t *o;
    int r, n = 0;
    if (!path) skip();
    struct jsonl *in = jsonl_open(path, &err);
    assert_non_null(in);
    for (; (r = jsonl_next(in, &o, &err)) > 0; n++) {
        const char *text = json_string_value(json_object_get(o, "answer")), *found;
        const char *target = json_string_value(json_object_get(o, "target"));
        int64_t length;
        if (!answer_find(text, (int64_t)strlen(text), &found, &length) ||
            !answer_equal(found, length, target, (int64_t)strlen(target)))
            fail_msg("%s: target %s", jsonl_where(in), target);
        json_decref(o);
    }
    jsonl_close(in);
    assert_int_equal(r, 0);
    assert_int_equal(n, 1319);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published), cmocka_unit_test(cases), cmocka_unit_test(numbers),
        cmocka_unit_test(limits),    cmocka_unit_test(noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
