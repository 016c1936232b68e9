/* Cutting text: pre-tokenisers, patterns, byte spelling, added tokens, NFC. What the Python packages do is compared in
 * test_tokenizer; here are single properties and what files cannot show. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/added.h"
#include "text/normalize.h"
#include "text/pattern.h"
#include "text/pretoken.h"
#include "text/utf8.h"

static int join(void *ctx, const char *text, int64_t n, struct err *err) {
    struct bytes *out = ctx;
    return bytes_push(out, text, n, err) < 0 ? -1 : bytes_push(out, "|", 1, err);
}

/* Pieces of text, each followed by '|'. */
static void expect_pieces(const char *json, const char *text, bool first, const char *want) {
    struct err err = {0};
    struct pretoken p;
    struct pretoken_scratch s;
    struct bytes out = {0};
    json_t *v = json ? json_loads(json, 0, NULL) : NULL;
    assert_int_equal(pretoken_scratch_init(&s, &err), 0);
    if (pretoken_load(&p, v, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(pretoken_run(&p, &s, text, (int64_t)strlen(text), first, join, &out, &err), 0);
    assert_string_equal(out.n ? out.v : "", want);
    bytes_free(&out);
    pretoken_scratch_free(&s);
    pretoken_free(&p);
    json_decref(v);
}

static void test_kinds(void **state) {
    (void)state;
    const char *gpt2 = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}";
    expect_pieces(NULL, "as it is", true, "as it is|");
    expect_pieces(gpt2, "", true, "");
    expect_pieces(gpt2, "We're  here, it's 2024!\n\n  ok ", true, "We|'re| | here|,| it|'s| 2024|!|\n\n | ok| |");
    expect_pieces(gpt2, "x\u00a0y\u2003 z", true, "x|\u00a0|y|\u2003| z|");
    expect_pieces("{\"type\": \"ByteLevel\"}", "hi", false, " hi|");
    expect_pieces("{\"type\": \"ByteLevel\"}", " hi", false, " hi|");
    expect_pieces("{\"type\": \"Digits\", \"individual_digits\": true}", "a12b", true, "a|1|2|b|");
    expect_pieces("{\"type\": \"Digits\", \"individual_digits\": false}", "a12b", true, "a|12|b|");
    expect_pieces("{\"type\": \"Whitespace\"}", " a_b, c!? ", true, "a_b|,|c|!?|");
    expect_pieces("{\"type\": \"WhitespaceSplit\"}", " a,b  c\n", true, "a,b|c|");
    expect_pieces("{\"type\": \"Punctuation\"}", "a,b!!c", true, "a|,|b|!|!|c|");
    expect_pieces("{\"type\": \"CharDelimiterSplit\", \"delimiter\": \"-\"}", "-a--b-", true, "a|b|");
    const char *first = "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"first\"}";
    expect_pieces(first, "a  b", true, "_a|_|_b|");
    expect_pieces(first, "a b", false, "a|_b|");
    expect_pieces(
        "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"WhitespaceSplit\"}, {\"type\": \"Sequence\", "
        "\"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": true}]}]}",
        "a1 23", true, "a|1|2|3|");
}

/* behaviours of Split on matches of "-+|x*", which may be empty */
static void test_split(void **state) {
    (void)state;
    static const struct {
        const char *behavior, *want;
    } cases[] = {
        {"Isolated", "a|--|b|-|"},      {"Removed", "a|b|"},         {"MergedWithPrevious", "a--|b-|"},
        {"MergedWithNext", "a|--b|-|"}, {"Contiguous", "a|--|b|-|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[200];
        snprintf(json, sizeof json, "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"-+\"}, \"behavior\": \"%s\"}",
                 cases[i].behavior);
        expect_pieces(json, "a--b-", true, cases[i].want);
    }
    expect_pieces("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\"}, \"behavior\": \"Isolated\"}", "aéb", true,
                  "a|é|b|");
    expect_pieces("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"-\"}, \"behavior\": \"Removed\", \"invert\": true}",
                  "a-b--", true, "-|-|-|");
}

static void test_patterns(void **state) {
    (void)state;
    /* \s and \w as Unicode says, \p{Name} as a script, ^ and $ at lines */
    static const struct {
        const char *regex, *text;
        int64_t start, end; /* of the first match; -1: none */
    } cases[] = {
        {"\\s", "a\u180eb", -1, -1},      {"\\s", "a\xC2\x85\x62", 1, 3}, {"[\\s]", "\u2003", 0, 3},
        {"\\S", " \u00a0x", 3, 4},        {"[^\\S]", "ab c", 2, 3},       {"\\w", "\u0301", 0, 2},
        {"[\\w-]+", "-\u203f-", 0, 5},    {"\\W+", "a \u2014b", 1, 5},    {"\\p{Han}", "\u3001\u4e00", 3, 6},
        {"\\P{Latin}", "ab\u03b1", 2, 4}, {"^b$", "a\nb\nc", 2, 3},       {"\\p{Lu}", "aB", 1, 2},
        {"(?i:'S)", "x's", 1, 3},         {"[[:digit:]]", "a1", 1, 2},    {"\\x{e9}", "\u00e9", 0, 2},
        {"a{2,3}", "baaaa", 1, 4},
    };
    struct err err = {0};
    struct pattern_scratch *s = pattern_scratch_new(&err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pattern_walk w = {0};
        int64_t start = -1, end = -1;
        struct pattern *p = pattern_regex(cases[i].regex, &err);
        if (!p) fail_msg("%s", err.msg);
        int found = pattern_next(p, s, cases[i].text, (int64_t)strlen(cases[i].text), &w, &start, &end, &err);
        assert_int_equal(found, cases[i].start >= 0);
        if (found) {
            if (start != cases[i].start || end != cases[i].end)
                fail_msg("%s: %d %d", cases[i].regex, (int)start, (int)end);
        }
        pattern_free(p);
    }
    static const char *const refused[] = {"(",      "\\",   "[a",        "[a&&b]", "[a[bc]]",
                                          "(?m:.)", "\\X",  "[\\W]",     "\\p{",   "\\p{NoSuchThing}",
                                          "[]a]",   "[[:x", "(?im:a.b)", "(?m)a",  "a(?x-m:b)"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (pattern_regex(refused[i], &err)) fail_msg("%s was taken", refused[i]);
        assert_non_null(strstr(err.msg, "regular expression"));
    }
    pattern_scratch_free(s);
}

static void test_byte_spelling(void **state) {
    (void)state;
    bool seen[512] = {0};
    for (int b = 0; b < 256; b++) {
        int32_t cp = byte_level_char(b);
        assert_in_range(cp, 33, 511);
        assert_false(seen[cp]);
        seen[cp] = true;
        assert_int_equal(byte_level_byte(cp), b);
    }
    for (int32_t cp = 0; cp < 1000; cp++) assert_int_equal(byte_level_byte(cp) >= 0, cp < 512 && seen[cp]);
    assert_int_equal(byte_level_char(' '), 0x120);
    assert_int_equal(byte_level_char('\n'), 0x10A);
    assert_int_equal(byte_level_char(0xAD), 0x143);
}

/* Tokens as [id], text as it is, '|' between. */
static void expect_walk(const struct added *a, const char *text, const char *want) {
    struct err err = {0};
    struct pattern_scratch *s = pattern_scratch_new(&err);
    struct added_walk w;
    int64_t from, to;
    int32_t id;
    char got[400] = "";
    added_start(&w, text, (int64_t)strlen(text));
    while (added_next(a, s, &w, &from, &to, &id, &err) > 0) {
        size_t n = strlen(got);
        if (id >= 0)
            snprintf(got + n, sizeof got - n, "[%d]|", id);
        else
            snprintf(got + n, sizeof got - n, "%.*s|", (int)(to - from), text + from);
    }
    assert_string_equal(got, want);
    pattern_scratch_free(s);
}

static void test_added(void **state) {
    (void)state;
    static const struct {
        const char *text;
        struct added_token flags;
    } tokens[] = {
        {"<a>", {.id = 1}},
        {"<a><b>", {.id = 2}},
        {"<a><bc>", {.id = 3}},
        {"<l>", {.id = 4, .lstrip = true}},
        {"<r>", {.id = 5, .rstrip = true}},
        {"word", {.id = 6, .single_word = true}},
        {"é", {.id = 7}},
        {"<a>", {.id = 8}},
    };
    struct err err = {0};
    struct added a = {0};
    expect_walk(&a, "nothing is cut", "nothing is cut|");
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        assert_int_equal(added_push(&a, tokens[i].text, (int64_t)strlen(tokens[i].text), &tokens[i].flags, &err), 0);
    }
    assert_int_equal(added_done(&a, &err), 0);
    expect_walk(&a, "", "");
    expect_walk(&a, "<a>", "[1]|");
    expect_walk(&a, "x<a><b>y", "x|[2]|y|");
    expect_walk(&a, "<a><bc><a><b<a", "[3]|[1]|<b<a|");
    expect_walk(&a, "x \u3000<l> y", "x|[4]| y|");
    expect_walk(&a, "x <r>\n\u00a0 y", "x |[5]|y|");
    expect_walk(&a, "<r>  <l>", "[5]|[4]|");
    expect_walk(&a, "word words sword word, \u0416word\u2014word", "[6]| words sword |[6]|, \u0416word\u2014|[6]|");
    expect_walk(&a, "caf\u00e9\xC3", "caf|[7]|\xC3|");
    added_free(&a);
}

static void test_nfc(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"plain text", "plain text"},
        {"e\u0301", "\u00e9"},
        {"\u00e9\u0323", "\u1eb9\u0301"}, /* taken apart, put in order, composed anew */
        {"a\u0301\u0323", "\u1ea1\u0301"},
        {"\u1100\u1161\u11a8x", "\uac01x"},
        {"\uac00\u11a8", "\uac01"},
        {"\u212b\u2126", "\u00c5\u03a9"},
        {"\uf900\U0002f800", "\u8c48\u4e3d"},
        {"\u0958", "\u0915\u093c"}, /* never composed */
        {"\u0301e\u0301", "\u0301\u00e9"},
        {"a\u0305\u0301", "a\u0305\u0301"}, /* blocked by a mark of the same class */
        {"\U00011099\U000110ba", "\U0001109a"},
        {"q\u0307\u0323.", "q\u0323\u0307."},
        {"e\u0898\u0301\u0323",
         "e\u0898\u0323\u0301"}, /* younger than Unicode 9: nothing passes it or composes over it */
        {"a\u1acd\u0334\u0301", "a\u1acd\u0334\u0301"},
        {"\U00011935\U00011930e\u0301", "\U00011935\U00011930\u00e9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        struct bytes once = {0}, twice = {0};
        assert_int_equal(nfc_push(&once, cases[i].in, (int64_t)strlen(cases[i].in), &err), 0);
        assert_string_equal(once.v, cases[i].out);
        assert_int_equal(nfc_push(&twice, once.v, once.n, &err), 0);
        assert_string_equal(twice.v, cases[i].out);
        bytes_free(&once);
        bytes_free(&twice);
    }
}

static void test_utf8(void **state) {
    (void)state;
    for (int32_t cp = 0; cp < 0x110000; cp += cp < 0x3000 ? 1 : 37) {
        if (cp >= 0xD800 && cp < 0xE000) continue;
        char s[4];
        int32_t a, b;
        int n = utf8_put(s, cp);
        assert_int_equal(utf8_next(s, n, &a), n);
        assert_int_equal(utf8_get(s, &b), n);
        assert_int_equal(a, cp);
        assert_int_equal(b, cp);
        if (n > 1) assert_true(utf8_valid(s, n - 1) == 0);
    }
}

static int teardown(void **state) {
    (void)state;
    assert_int_equal(mem_in_use(), 0);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),         cmocka_unit_test(test_split), cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_added),         cmocka_unit_test(test_utf8),  cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_byte_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
