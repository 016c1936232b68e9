/* SentencePiece models made here byte by byte: scores and ties, piece types, spaces, character map, decoding, damaged
 * files; and the form of llama2.c. What the library does with trained models is compared in test_tokenizer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/tokenizer.h"
#include "data_help.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED_PIECE, BYTE };

static char *dir;

static int setup(void **state) {
    (void)state;
    dir = scratch_new();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    assert_int_equal(mem_in_use(), 0);
    return 0;
}

/* A protocol buffer being written. */
struct out {
    unsigned char b[1 << 16];
    size_t n;
};

static void put_varint(struct out *o, uint64_t v) {
    for (; v >= 0x80; v >>= 7) o->b[o->n++] = (unsigned char)(v | 0x80);
    o->b[o->n++] = (unsigned char)v;
}

static void put_int(struct out *o, int field, uint64_t v) {
    put_varint(o, (uint64_t)field << 3);
    put_varint(o, v);
}

static void put_data(struct out *o, int field, const void *data, size_t n) {
    put_varint(o, (uint64_t)field << 3 | 2);
    put_varint(o, n);
    memcpy(o->b + o->n, data, n);
    o->n += n;
}

static void put_piece(struct out *o, const char *text, float score, int type) {
    struct out p = {.n = 0};
    put_data(&p, 1, text, strlen(text));
    put_varint(&p, 2 << 3 | 5);
    memcpy(p.b + p.n, &score, 4);
    p.n += 4;
    if (type != NORMAL) put_int(&p, 3, (uint64_t)type);
    put_data(o, 1, p.b, p.n);
}

struct options {
    int model_type; /* 0: BPE */
    bool bytes, remove_extra, suffix, no_prefix, no_escape;
    const void *map;
    size_t map_n;
};

static void put_specs(struct out *o, struct options s) {
    struct out trainer = {.n = 0}, normalizer = {.n = 0};
    put_int(&trainer, 3, s.model_type ? (uint64_t)s.model_type : 2);
    if (s.suffix) put_int(&trainer, 24, 1);
    put_int(&trainer, 35, s.bytes);
    put_data(&normalizer, 1, "test", 4);
    if (s.map) put_data(&normalizer, 2, s.map, s.map_n);
    put_int(&normalizer, 3, !s.no_prefix);
    put_int(&normalizer, 4, s.remove_extra);
    put_int(&normalizer, 5, !s.no_escape);
    put_data(o, 2, trainer.b, trainer.n);
    put_data(o, 3, normalizer.b, normalizer.n);
}

static void put_bytes(struct out *o) {
    for (int b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        put_piece(o, text, 0, BYTE);
    }
}

static struct tokenizer *load(const struct out *o, struct err *err) {
    put(in(dir, "x.model"), o->b, o->n);
    return tokenizer_load(in(dir, "x.model"), err);
}

/* text -> ids, each followed by a space */
static void expect(const struct tokenizer *t, const char *text, const char *want) {
    struct err err = {0};
    struct ids ids = {0};
    struct bytes all = {0};
    assert_int_equal(tokenizer_encode(t, text, (int64_t)strlen(text), &ids, &err), 0);
    assert_int_equal(bytes_push(&all, "", 0, &err), 0);
    for (int64_t i = 0; i < ids.n; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d ", ids.v[i]);
        assert_int_equal(bytes_push(&all, number, (int64_t)strlen(number), &err), 0);
    }
    if (strcmp(all.v, want) != 0) fail_msg("\"%s\": %s, expected %s", text, all.v, want);
    bytes_free(&all);
    ids_free(&ids);
}

static void expect_text(const struct tokenizer *t, int n, const int32_t *ids, bool keep, const char *want) {
    struct err err = {0};
    struct bytes out = {0};
    if (tokenizer_decode(t, ids, n, keep, &out, &err) < 0) fail_msg("%s", err.msg);
    assert_string_equal(out.v ? out.v : "", want);
    bytes_free(&out);
}

/* ids: 0 <unk>, 1 <s>, 2 </s>, then from 3 on */
static struct out small(const struct options *s) {
    static const char *const pieces[] = {"\u2581", "a", "b", "c", "ab", "bc", "abc", "\u2581a", "cc", "\u2581\u2581"};
    static const float scores[] = {-9, -9, -9, -9, -2, -2, -3, -4, -1, -0.5f};
    struct out o = {.n = 0};
    put_piece(&o, "<unk>", 0, UNKNOWN);
    put_piece(&o, "<s>", 0, CONTROL);
    put_piece(&o, "</s>", 0, CONTROL);
    for (int i = 0; i < 10; i++) put_piece(&o, pieces[i], scores[i], NORMAL);
    put_piece(&o, "a\u00e9", -5, NORMAL); /* \u00e9 alone is no piece */
    put_piece(&o, "<u>", 0, USER_DEFINED);
    if (s->bytes) put_bytes(&o);
    put_specs(&o, *s);
    return o;
}

static void test_merges(void **state) {
    (void)state;
    struct err err = {0};
    struct options s = {0};
    struct out o = small(&s);
    struct tokenizer *t = load(&o, &err);
    if (!t) fail_msg("%s", err.msg);
    assert_int_equal(tokenizer_vocab_size(t), 15);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    expect(t, "", "");
    expect(t, "c", "3 6 ");
    expect(t, "abc", "3 9 "); /* ab and bc tie: the left one first; then abc before _a */
    expect(t, "bc", "3 8 ");
    expect(t, "babcc", "3 5 7 11 "); /* cc beats bc */
    expect(t, "ac", "10 6 ");
    expect(t, "  a", "12 10 ");
    expect(t, "a\u00e9", "10 0 "); /* _a comes first; the accented letter is unknown */
    expect(t, "ba\u00e9", "3 5 13 ");
    expect(t, "bxyzb", "3 5 0 5 "); /* unknown characters become one */
    expect(t, "x<u>yz", "3 0 14 0 ");
    expect(t, "<s>a", "3 0 4 "); /* text is never a control piece; all three characters are unknown */
    tokenizer_free(t);
}

static void test_byte_fallback(void **state) {
    (void)state;
    struct err err = {0};
    struct options s = {.bytes = true};
    struct out o = small(&s);
    struct tokenizer *t = load(&o, &err);
    if (!t) fail_msg("%s", err.msg);
    int first = 15;
    char want[100];
    snprintf(want, sizeof want, "10 %d %d 5 ", first + 0xC3, first + 0xA9);
    expect(t, "a\u00e9b", want);
    snprintf(want, sizeof want, "3 %d %d ", first + 'x', first + '\n');
    expect(t, "x\n", want);
    /* bytes that are no character: one U+FFFD each */
    const int32_t ids[] = {10, first + 0xC3, first + 0xA9, first + 0xE2, first + 0x82, 4, 1, 0};
    expect_text(t, 8, ids, false, "a\u00e9\uFFFD\uFFFDa \u2047 ");
    expect_text(t, 8, ids, true, "a\u00e9\uFFFD\uFFFDa<s> \u2047 ");
    tokenizer_free(t);
}

static void test_spaces(void **state) {
    (void)state;
    struct err err = {0};
    static const struct {
        struct options s;
        const char *text, *want;
        int32_t ids[4];
        const char *decoded;
    } cases[] = {
        {{.remove_extra = true}, "  a  b ", "10 3 5 ", {3, 10, 3, 5}, "a b"},
        {{.remove_extra = true}, "   ", "", {12, 12, 4, 4}, "   aa"},
        {{.no_prefix = true}, "a a", "4 10 ", {3, 4, 3, 5}, " a b"},
        {{.suffix = true}, "a", "4 3 ", {3, 4, 3, 5}, "a b"},
        {{.suffix = true, .remove_extra = true}, " b  b ", "5 3 5 3 ", {4, 3, 4, 3}, "a a "},
        {{0}, "a  b", "10 12 5 ", {3, 10, 12, 5}, " a  b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct out o = small(&cases[i].s);
        struct tokenizer *t = load(&o, &err);
        if (!t) fail_msg("%s", err.msg);
        expect(t, cases[i].text, cases[i].want);
        expect_text(t, 4, cases[i].ids, false, cases[i].decoded);
        tokenizer_free(t);
    }
}

/* A trie with the one key "x" -> "ab", and what damage to it does. */
static void test_character_map(void **state) {
    (void)state;
    enum { UNITS = 256 };
    unsigned char map[4 + 4 * UNITS + 3] = {0};
    uint32_t trie[UNITS] = {0}, size = sizeof trie;
    struct err err = {0};
    /* root: offset 0; 'x' = 0x78: label x, leaf, offset 1, so that its value is at 0x79 */
    trie[0x78] = 'x' | 1 << 8 | 1 << 10;
    trie[0x79] = 1u << 31;
    memcpy(map, &size, 4);
    memcpy(map + 4, trie, sizeof trie);
    memcpy(map + 4 + sizeof trie, "ab", 3);
    struct options s = {.map = map, .map_n = sizeof map};
    struct out o = small(&s);
    struct tokenizer *t = load(&o, &err);
    if (!t) fail_msg("%s", err.msg);
    expect(t, "x", "3 7 ");
    expect(t, "xc", "3 9 ");
    expect(t, "<u>x", "3 14 7 ");
    tokenizer_free(t);
    for (size_t i = 0; i < 4 + sizeof trie; i++) { /* no single damaged byte may lead outside */
        map[i] ^= 0xFF;
        o = small(&s);
        t = load(&o, &err);
        if (t) {
            struct ids ids = {0};
            assert_int_equal(tokenizer_encode(t, "xc \u00e9x", 7, &ids, &err), 0);
            ids_free(&ids);
        }
        tokenizer_free(t);
        map[i] ^= 0xFF;
    }
    map[sizeof map - 1] = 'c'; /* the last result has no end */
    o = small(&s);
    assert_null(load(&o, &err));
    assert_non_null(strstr(err.msg, "precompiled_charsmap"));
}

static void test_refused(void **state) {
    (void)state;
    struct err err = {0};
    static const struct {
        const char *text;
        float score;
        int type;
        const char *says;
    } pieces[] = {
        {"", 0, NORMAL, "piece 15 is empty"},
        {"\xFF\xFE", 0, NORMAL, "piece 15 is not UTF-8"},
        {"new", __builtin_nanf(""), NORMAL, "not a number"},
        {"ab", 0, NORMAL, "there twice"},
        {"new", 0, UNUSED_PIECE, "type 5 is not supported"},
        {"new", 0, 99, "not supported"},
        {"new", 0, UNKNOWN, "two unknown pieces"},
        {"<0x4>", 0, BYTE, "expected a byte"},
        {"<0xGG>", 0, BYTE, "expected a byte"},
    };
    struct options plain = {0};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct out o = small(&plain);
        put_piece(&o, pieces[i].text, pieces[i].score, pieces[i].type);
        if (load(&o, &err)) fail_msg("\"%s\" was taken", pieces[i].text);
        if (!strstr(err.msg, pieces[i].says)) fail_msg("\"%s\": %s", pieces[i].text, err.msg);
    }
    static const char *const types[] = {"unigram", "", "word", "char", "unknown"};
    for (int type = 1; type <= 5; type++) {
        if (type == 2) continue;
        struct options s = {.model_type = type};
        struct out o = small(&s);
        assert_null(load(&o, &err));
        assert_non_null(strstr(err.msg, types[type - 1]));
    }
    struct out o = {.n = 0};
    put_piece(&o, "a", 0, NORMAL);
    put_specs(&o, plain);
    assert_null(load(&o, &err));
    assert_non_null(strstr(err.msg, "no unknown piece"));
    o = small(&plain);
    put_specs(&o, (struct options){.bytes = true});
    assert_null(load(&o, &err));
    assert_non_null(strstr(err.msg, "<0x00> is missing"));
    char longer[2000];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = 0;
    o = small(&plain);
    put_piece(&o, longer, 0, NORMAL);
    assert_null(load(&o, &err));
    assert_non_null(strstr(err.msg, "longer than"));
}

/* Every beginning of a model either loads or says what is wrong. */
static void test_truncated(void **state) {
    (void)state;
    struct options s = {.bytes = false};
    struct out whole = small(&s);
    int loaded = 0;
    for (size_t n = 0; n < whole.n; n++) {
        struct out o = whole;
        struct err err = {0};
        o.n = n;
        struct tokenizer *t = load(&o, &err);
        loaded += t != NULL;
        assert_true(t || strlen(err.msg) > 20);
        tokenizer_free(t);
    }
    assert_true(loaded < 40); /* only where nothing but the last fields is missing */
}

/* The form of llama2.c: spaces as they are, ids 3 ... 258 are bytes. */
static void test_tokbin(void **state) {
    (void)state;
    struct out o = {.n = 0};
    const uint32_t longest = 7;
    memcpy(o.b, &longest, 4);
    o.n = 4;
    static const char *const pieces[] = {" ", "a", "b", " a", "ab"};
    for (int i = 0; i < 3 + 256 + 5; i++) {
        char byte[8];
        const char *text = i == 0 ? "<unk>" : i == 1 ? "\n<s>\n" : i == 2 ? "\n</s>\n" : byte;
        float score = i >= 3 + 256 ? (float)-i : 0;
        snprintf(byte, sizeof byte, "<0x%02X>", i - 3);
        if (i >= 3 + 256) text = pieces[i - 3 - 256];
        uint32_t n = (uint32_t)strlen(text);
        memcpy(o.b + o.n, &score, 4);
        memcpy(o.b + o.n + 4, &n, 4);
        memcpy(o.b + o.n + 8, text, n);
        o.n += 8 + n;
    }
    struct err err = {0};
    struct tokenizer *t = load(&o, &err);
    if (!t) fail_msg("%s", err.msg);
    assert_int_equal(tokenizer_vocab_size(t), 264);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    expect(t, "ab a", "262 261 262 "); /* " a" before "ab" */
    expect(t, "bab\n", "259 261 263 13 ");
    const int32_t ids[] = {1, 262, 262, 13, 2};
    expect_text(t, 5, ids, false, "a a\n");
    tokenizer_free(t);
    for (size_t n = 12; n < o.n; n += 7) {
        struct out cut = o;
        cut.n = n;
        t = load(&cut, &err);
        tokenizer_free(t);
    }
    o.n -= 1;
    assert_null(load(&o, &err));
    assert_non_null(strstr(err.msg, "does not fit"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges),  cmocka_unit_test(test_byte_fallback), cmocka_unit_test(test_spaces),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_character_map), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_tokbin),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
