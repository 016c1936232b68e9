/* Tokenizers as a whole: ids and texts of the two Python packages (tests/golden/tokenizers), the published Llama
 * tokenizer when it is there, the merge engine against a naive one, other file forms, hostile files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "text/bpe.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "data_help.h"
#include "test_data.h"

#define GOLDEN "tests/golden/tokenizers/"

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

static struct tokenizer *load(const char *path) {
    struct err err = {0};
    struct tokenizer *t = tokenizer_load(path, &err);
    if (!t) fail_msg("%s", err.msg);
    return t;
}

static void expect_ids(const struct tokenizer *t, const char *text, size_t n, const int32_t *want, size_t want_n) {
    struct err err = {0};
    struct ids ids = {0};
    if (tokenizer_encode(t, text, (int64_t)n, &ids, &err) < 0) fail_msg("%s", err.msg);
    bool same = (size_t)ids.n == want_n && (want_n == 0 || memcmp(ids.v, want, want_n * sizeof *want) == 0);
    if (!same) {
        size_t k = 0;
        while (k < want_n && k < (size_t)ids.n && ids.v[k] == want[k]) k++;
        fail_msg("%s: \"%s\": id %zu is %d, expected %d", tokenizer_path(t), text, k, k < (size_t)ids.n ? ids.v[k] : -1,
                 k < want_n ? want[k] : -1);
    }
    ids_free(&ids);
}

static void expect_text(const struct tokenizer *t, const int32_t *ids, size_t n, bool keep_special, const char *want) {
    struct err err = {0};
    struct bytes text = {0};
    if (tokenizer_decode(t, ids, (int64_t)n, keep_special, &text, &err) < 0) fail_msg("%s", err.msg);
    assert_string_equal(text.n ? text.v : "", want);
    bytes_free(&text);
}

/* JSON array of ids; the caller frees. */
static int32_t *id_array(const json_t *v, size_t *n) {
    assert_true(json_is_array(v));
    *n = json_array_size(v);
    int32_t *ids = malloc((*n + 1) * sizeof *ids);
    for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(v, i));
    return ids;
}

static json_t *json_file(const char *path) {
    json_error_t e;
    json_t *v = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (!v) fail_msg("%s: %s", path, e.text);
    return v;
}

/* The golden file `base` with some members replaced ("model.fuse_unk" reaches inside); its path. */
static const char *variant(const char *base, json_t *members) {
    if (json_object_size(members) == 0) return in(GOLDEN, base);
    json_t *v = json_file(in(GOLDEN, base)), *value;
    const char *key;
    json_object_foreach(members, key, value) {
        bool inside = strncmp(key, "model.", 6) == 0;
        json_object_set(inside ? json_object_get(v, "model") : v, inside ? key + 6 : key, value);
    }
    const char *path = in(dir, "variant.json");
    assert_int_equal(json_dump_file(v, path, 0), 0);
    json_decref(v);
    return path;
}

static void test_golden(void **state) {
    (void)state;
    json_t *all = json_file(GOLDEN "cases.json"), *texts = json_object_get(all, "texts"), *group;
    size_t g, checked = 0;
    json_array_foreach(json_object_get(all, "cases"), g, group) {
        const char *path = variant(json_string_value(json_array_get(group, 0)), json_array_get(group, 1));
        struct tokenizer *t = load(path);
        for (size_t i = 0; i < json_array_size(texts); i++, checked++) {
            const json_t *text = json_array_get(texts, i), *row = json_array_get(json_array_get(group, 2), i);
            const char *plain = json_string_value(json_array_get(row, 1)),
                       *full = json_string_value(json_array_get(row, 2));
            size_t n;
            int32_t *ids = id_array(json_array_get(row, 0), &n);
            expect_ids(t, json_string_value(text), json_string_length(text), ids, n);
            expect_text(t, ids, n, false, plain);
            expect_text(t, ids, n, true, full ? full : plain);
            free(ids);
        }
        tokenizer_free(t);
    }
    assert_true(checked > 1000);
    json_decref(all);
}

static void test_llama(void **state) {
    (void)state;
    const char *cases = test_data("reference/golden/llama_tokenizer.json"), *folder = test_data("data/llama_tokenizer");
    if (!cases || !folder) skip();
    json_t *all = json_file(cases), *c;
    size_t i, compared = 0;
    struct tokenizer *model = load(in(folder, "tokenizer.model")), *json = load(in(folder, "tokenizer.json"));
    assert_int_equal(tokenizer_vocab_size(model), 32000);
    assert_int_equal(tokenizer_bos(model), 1);
    assert_int_equal(tokenizer_eos(json), 2);
    json_array_foreach(json_object_get(all, "cases"), i, c) {
        const char *text = json_string_value(json_object_get(c, "text")), *decoded;
        size_t n, text_n = json_string_length(json_object_get(c, "text"));
        int32_t *ids = id_array(json_object_get(c, "ids"), &n);
        decoded = json_string_value(json_object_get(c, "decoded"));
        expect_ids(model, text, text_n, ids, n);
        expect_text(model, ids, n, false, decoded);
        /* The other file takes "<s>" in the text for the begin token. */
        if (!strstr(text, "<s>") && !strstr(text, "</s>") && !strstr(text, "<unk>")) {
            expect_ids(json, text, text_n, ids, n);
            compared++;
        }
        free(ids);
    }
    assert_int_equal(i, 310);
    assert_true(compared > 250);
    tokenizer_free(model);
    tokenizer_free(json);
    json_decref(all);
}

static void test_stories260k(void **state) {
    (void)state;
    const char *path = test_data("data/stories260k/tok512.bin");
    if (!path) skip();
    struct tokenizer *t = load(path);
    const int32_t want[] = {403, 407, 261};
    assert_int_equal(tokenizer_vocab_size(t), 512);
    assert_int_equal(tokenizer_bos(t), 1);
    expect_ids(t, "Once upon a", 11, want, 3);
    expect_text(t, want, 3, false, "Once upon a");
    tokenizer_free(t);
}

/* vocab.json + merges.txt say the same as the tokenizer.json they are made from. */
static void test_vocab_and_merges(void **state) {
    (void)state;
    json_t *v = json_file(GOLDEN "bytes.json"), *model = json_object_get(v, "model"), *m;
    size_t i;
    FILE *f = fopen(in(dir, "merges.txt"), "w");
    fputs("#version: 0.2\n", f);
    json_array_foreach(json_object_get(model, "merges"), i, m) {
        if (json_is_string(m))
            fprintf(f, "%s\n", json_string_value(m));
        else
            fprintf(f, "%s %s\r\n", json_string_value(json_array_get(m, 0)), json_string_value(json_array_get(m, 1)));
    }
    fclose(f);
    assert_int_equal(json_dump_file(json_object_get(model, "vocab"), in(dir, "vocab.json"), 0), 0);
    json_decref(v);
    struct tokenizer *a = load(GOLDEN "bytes.json"), *b = load(dir);
    const char *text = "The miller's  geese\n\n1872 größer <|endoftext|> 老磨坊";
    struct err err = {0};
    struct ids ids = {0};
    assert_int_equal(tokenizer_encode(a, text, (int64_t)strlen(text), &ids, &err), 0);
    expect_ids(b, text, strlen(text), ids.v, (size_t)ids.n);
    expect_text(b, ids.v, (size_t)ids.n, true, text);
    assert_string_equal(tokenizer_path(b), in(dir, "vocab.json"));
    assert_int_equal(tokenizer_bos(b), 0); /* GPT-2's way: one token for both */
    assert_int_equal(tokenizer_eos(b), 0);
    assert_string_not_equal(tokenizer_digest(a), tokenizer_digest(b));
    assert_int_equal(strlen(tokenizer_digest(a)), 16);
    tokenizer_free(a);
    tokenizer_free(b);
    ids_free(&ids);
    put_text(in(dir, "merges.txt"), "a\n");
    assert_null(tokenizer_load(dir, &err));
    assert_non_null(strstr(err.msg, "merges.txt: merge 0"));
    remove(in(dir, "merges.txt"));
    assert_null(tokenizer_load(dir, &err));
    remove(in(dir, "vocab.json"));
}

/* A copy has the name that is looked for, whatever the file was called. */
static void test_copies(void **state) {
    (void)state;
    const char *const from[] = {GOLDEN "bytes.json", GOLDEN "llama.model", test_data("data/stories260k/tok512.bin")};
    const char *const names[] = {"tokenizer.json", "tokenizer.model", "tokenizer.bin"};
    struct err err = {0};
    for (int i = 0; i < 3; i++) {
        if (!from[i]) continue;
        struct tokenizer *t = load(from[i]), *copy;
        assert_string_equal(tokenizer_name(t), names[i]);
        assert_false(tokenizer_there(dir));
        assert_int_equal(tokenizer_copy(t, dir, &err), 0);
        assert_true(tokenizer_there(dir));
        copy = load(dir);
        assert_string_equal(tokenizer_path(copy), in(dir, names[i]));
        assert_string_equal(tokenizer_digest(copy), tokenizer_digest(t));
        assert_int_equal(tokenizer_copy(copy, dir, &err), 0); /* onto itself */
        tokenizer_free(copy);
        if (i > 0) { /* would be found instead */
            put_text(in(dir, "tokenizer.json"), "{}");
            assert_int_equal(tokenizer_copy(t, dir, &err), -1);
            assert_non_null(strstr(err.msg, "tokenizer.json is there already"));
            remove(in(dir, "tokenizer.json"));
        }
        put_text(in(dir, names[i]), "somebody's"); /* stays */
        assert_int_equal(tokenizer_copy(t, dir, &err), -1);
        assert_non_null(strstr(err.msg, "is there already, and does not belong to"));
        size_t n;
        char *kept = get(in(dir, names[i]), &n);
        assert_string_equal(kept, "somebody's");
        free(kept);
        remove(in(dir, names[i]));
        put_text(in(dir, "tokenizer_config.json"), "{}"); /* would be read with it */
        assert_int_equal(tokenizer_copy(t, dir, &err), -1);
        assert_non_null(strstr(err.msg, "tokenizer_config.json is there already"));
        assert_false(tokenizer_there(dir));
        remove(in(dir, "tokenizer_config.json"));
        tokenizer_free(t);
    }
    assert_false(tokenizer_there(in(dir, "no such folder")));
}

/* Which tokens begin and end a text: the files beside tokenizer.json say, else the names. */
static void test_roles(void **state) {
    (void)state;
    size_t n = 0;
    char *data = get(GOLDEN "llama.json", &n);
    const char *path = in(dir, "tokenizer.json"), *config = in(dir, "tokenizer_config.json");
    put(path, data, n);
    free(data);
    struct tokenizer *t = load(dir);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    char digest[17];
    strcpy(digest, tokenizer_digest(t));
    tokenizer_free(t);
    put_text(config, "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    t = load(dir);
    assert_string_equal(tokenizer_digest(t), digest); /* says nothing new */
    tokenizer_free(t);
    put_text(config, "{\"bos_token\": null, \"eos_token\": {\"content\": \"<sep>\"}}");
    t = load(dir);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_eos(t), 420);
    assert_string_not_equal(tokenizer_digest(t), digest);
    tokenizer_free(t);
    put_text(config, "{\"bos_token\":");
    struct err err = {0};
    assert_null(tokenizer_load(dir, &err));
    assert_non_null(strstr(err.msg, "tokenizer_config.json"));
    remove(config);
    remove(path);
}

static void test_bad_utf8(void **state) {
    (void)state;
    /* Each maximal subpart is one U+FFFD: the examples of the Unicode standard, section 3.9. */
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\xF1\x80\x80\xE1\x80\xC2"
         "b\x80"
         "c\x80\xBF"
         "d",
         "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
         "A",
         "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
         "A",
         "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
        {"\xF4\x91\x92\x93\xFF"
         "A\x80\xBF"
         "B",
         "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
         "A",
         "\uFFFD\uFFFD\uFFFD\uFFFDA"},
        {"plain \xC3\xA9 \xF0\x9F\xA6\x8A", "plain \xC3\xA9 \xF0\x9F\xA6\x8A"},
    };
    struct tokenizer *t = load(GOLDEN "bytes.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        struct bytes clean = {0};
        struct ids ids = {0};
        assert_int_equal(utf8_clean(&clean, cases[i].in, (int64_t)strlen(cases[i].in), &err), 0);
        assert_string_equal(clean.v, cases[i].out);
        assert_int_equal(tokenizer_encode(t, clean.v, clean.n, &ids, &err), 0);
        expect_ids(t, cases[i].in, strlen(cases[i].in), ids.v, (size_t)ids.n);
        ids_free(&ids);
        bytes_free(&clean);
    }
    tokenizer_free(t);
}

/* Merge the smallest rank, the leftmost first, by looking at everything each time. */
static int64_t merge_naive(const struct bpe *b, int32_t *ids, int64_t n) {
    for (;;) {
        const struct bpe_pair *best = NULL;
        int64_t at = 0;
        for (int64_t i = 0; i + 1 < n; i++) {
            const struct bpe_pair *p = bpe_find(b, ids[i], ids[i + 1]);
            if (p && (!best || p->rank < best->rank)) best = p, at = i;
        }
        if (!best) return n;
        ids[at] = best->id;
        memmove(ids + at + 1, ids + at + 2, (size_t)(n - at - 2) * sizeof *ids);
        n--;
    }
}

static void test_merge_engine(void **state) {
    (void)state;
    struct err err = {0};
    for (uint64_t trial = 0; trial < 300; trial++) {
        struct bpe b;
        struct bpe_scratch *s = bpe_scratch_new(&err);
        int symbols = 3 + (int)rng_below(1, RNG_TEST, trial, 0, 5), pairs = 40;
        assert_int_equal(bpe_init(&b, pairs, &err), 0);
        for (int i = 0; i < pairs; i++) {
            /* Few ranks, so that ties are common; a pair may come again: the last one counts. */
            uint64_t k = (uint64_t)i * 4;
            bpe_add(&b, (int32_t)rng_below(2, RNG_TEST, trial, k, (uint64_t)(symbols + i)),
                    (int32_t)rng_below(2, RNG_TEST, trial, k + 1, (uint64_t)(symbols + i)),
                    (int32_t)rng_below(2, RNG_TEST, trial, k + 2, 12), symbols + i);
        }
        for (int64_t n = 0; n < 200; n = n * 5 / 4 + 1) {
            int32_t a[256], c[256];
            for (int64_t i = 0; i < n; i++)
                a[i] = c[i] = (int32_t)rng_below(3, RNG_TEST, trial, (uint64_t)i, (uint64_t)symbols);
            int64_t want = merge_naive(&b, a, n), got = bpe_merge(&b, s, c, n, &err);
            assert_int_equal(got, want);
            assert_memory_equal(a, c, (size_t)want * sizeof *a);
        }
        bpe_scratch_free(s);
        bpe_free(&b);
    }
}

/* A megabyte without a place to cut takes n log n, not n². */
static void test_long_word(void **state) {
    (void)state;
    static const char *const files[] = {"llama.model", "bytes.json", "chars.json"};
    int64_t n = 1 << 20;
    char *text = malloc((size_t)n);
    for (int64_t i = 0; i < n; i++) text[i] = "theredhen"[rng_below(5, RNG_TEST, 0, (uint64_t)i, 9)];
    for (int k = 0; k < 3; k++) {
        struct err err = {0};
        struct ids ids = {0};
        struct bytes back = {0};
        struct tokenizer *t = load(in(GOLDEN, files[k]));
        assert_int_equal(tokenizer_encode(t, text, n, &ids, &err), 0);
        assert_true(ids.n < n);
        assert_int_equal(tokenizer_decode(t, ids.v, ids.n, false, &back, &err), 0);
        assert_int_equal(back.n, n);
        assert_memory_equal(back.v, text, (size_t)n);
        ids_free(&ids);
        bytes_free(&back);
        tokenizer_free(t);
    }
    free(text);
}

/* More words of one length than the cache of words has places. */
static void test_many_words(void **state) {
    (void)state;
    static const char *const files[] = {"llama.model", "bytes.json", "chars.json"};
    enum { WORDS = 40000, BYTES = 5 };
    char *text = malloc(WORDS * BYTES);
    for (int64_t i = 0; i < WORDS * BYTES; i++)
        text[i] = i % BYTES ? "theredhn"[rng_below(5, RNG_TEST, 1, (uint64_t)i, 8)] : ' ';
    for (int k = 0; k < 3; k++) {
        struct err err = {0};
        struct ids ids = {0};
        struct bytes back = {0};
        struct tokenizer *t = load(in(GOLDEN, files[k]));
        assert_int_equal(tokenizer_encode(t, text + 1, WORDS * BYTES - 1, &ids, &err), 0);
        assert_int_equal(tokenizer_decode(t, ids.v, ids.n, false, &back, &err), 0);
        assert_int_equal(back.n, WORDS * BYTES - 1);
        assert_memory_equal(back.v, text + 1, WORDS * BYTES - 1);
        ids_free(&ids);
        bytes_free(&back);
        tokenizer_free(t);
    }
    free(text);
}

static void test_threads(void **state) {
    (void)state;
    enum { TEXTS = 200 };
    struct tokenizer *t = load(GOLDEN "llama.model");
    struct ids want[TEXTS] = {0}, got[TEXTS] = {0};
    char text[TEXTS][64];
    struct err err = {0};
    int bad = 0;
    for (int i = 0; i < TEXTS; i++) {
        snprintf(text[i], sizeof text[i], "text %d of the hen, %d geese", i * i, i);
        assert_int_equal(tokenizer_encode(t, text[i], (int64_t)strlen(text[i]), &want[i], &err), 0);
    }
#pragma omp parallel for num_threads(8) reduction(+ : bad)
    for (int i = 0; i < TEXTS; i++) {
        struct err mine = {0};
        bad += tokenizer_encode(t, text[i], (int64_t)strlen(text[i]), &got[i], &mine) != 0;
        bad += got[i].n != want[i].n || memcmp(got[i].v, want[i].v, (size_t)want[i].n * sizeof *want[i].v) != 0;
    }
    assert_int_equal(bad, 0);
    for (int i = 0; i < TEXTS; i++) {
        ids_free(&want[i]);
        ids_free(&got[i]);
    }
    tokenizer_free(t);
}

static void test_bad_ids(void **state) {
    (void)state;
    static const int32_t bad[] = {-1, 424, INT32_MAX, INT32_MIN};
    struct tokenizer *t = load(GOLDEN "llama.json");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        struct bytes out = {0};
        int32_t ids[] = {300, bad[i]};
        assert_int_equal(bytes_push(&out, "kept", 4, &err), 0);
        assert_int_equal(tokenizer_decode(t, ids, 2, false, &out, &err), -1);
        assert_non_null(strstr(err.msg, "number 2 of 2"));
        assert_int_equal(out.n, 4);
        bytes_free(&out);
    }
    tokenizer_free(t);
}

/* Damaged or unsupported files: one clear line. %s in a file is put in place of one member. */
static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *members, *says;
    } cases[] = {
        {"{\"model.type\": \"WordPiece\"}", "model type \"WordPiece\" is not supported"},
        {"{\"model.dropout\": 0.1}", "dropout"},
        {"{\"model.end_of_word_suffix\": \"</w>\"}", "end_of_word_suffix"},
        {"{\"model.unk_token\": \"<none>\"}", "unk_token \"<none>\" is not in the vocabulary"},
        {"{\"model.unk_token\": 5}", "unk_token"},
        {"{\"model.vocab\": []}", "vocab"},
        {"{\"model.vocab\": {\"a\": \"b\"}}", "token \"a\" has no integer id"},
        {"{\"model.vocab\": {\"a\": 99999999999}}", "token id 99999999999"},
        {"{\"model.vocab\": {\"a\": -1}}", "token id -1"},
        {"{\"model.vocab\": {\"a\": 1, \"b\": 1}}", "two tokens have the id 1"},
        {"{\"model.merges\": 1}", "merges"},
        {"{\"model.merges\": [\"a b c\"]}", "merge 0: expected two tokens"},
        {"{\"model.merges\": [[\"a\"]]}", "merge 0"},
        {"{\"model.merges\": [\"a zz\"]}", "\"zz\" is not in the vocabulary"},
        {"{\"model.merges\": [\"\\u2581 \"]}", "not in the vocabulary"},
        {"{\"normalizer\": {\"type\": \"NFKC\"}}", "normalizer type \"NFKC\" is not supported"},
        {"{\"normalizer\": 3}", "normalizer"},
        {"{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(\"}, \"content\": \"\"}}",
         "regular expression \"(\""},
        {"{\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}}",
         "pre_tokenizer type \"UnicodeScripts\" is not supported"},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {}, \"behavior\": \"Isolated\"}}",
         "expected \"pattern\""},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Odd\"}}",
         "behavior \"Odd\""},
        {"{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}}", "one character"},
        {"{\"decoder\": {\"type\": \"CTC\"}}", "decoder type \"CTC\" is not supported"},
        {"{\"decoder\": {\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}}", "start"},
        {"{\"added_tokens\": {}}", "added_tokens"},
        {"{\"added_tokens\": [{}]}", "no \"content\""},
        {"{\"added_tokens\": [{\"content\": \"x\", \"id\": 1e300}]}", "id"},
        {"{\"added_tokens\": [{\"content\": \"<s>\", \"id\": 9}]}", "\"<s>\" has the id 1 in the vocabulary and 9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        json_t *members = json_loads(cases[i].members, 0, NULL);
        assert_non_null(members);
        const char *path = variant("llama.json", members);
        json_decref(members);
        struct tokenizer *t = tokenizer_load(path, &err);
        if (t) fail_msg("%s: loaded", cases[i].members);
        if (!strstr(err.msg, cases[i].says)) fail_msg("%s: says \"%s\"", cases[i].members, err.msg);
        assert_non_null(strstr(err.msg, "variant.json"));
    }
    static const char *const files[] = {"",
                                        "{",
                                        "[]",
                                        "{}",
                                        "{\"a\": 1",
                                        "{\"a\": \"b\"}",
                                        "hello, this is text",
                                        "\x0A",
                                        "\x00",
                                        "{\"model\": {}}",
                                        "{\"model\": []}",
                                        "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct err err = {0};
        put_text(in(dir, "bad"), files[i]);
        assert_null(tokenizer_load(in(dir, "bad"), &err));
        assert_true(strlen(err.msg) > 10);
    }
    struct err err = {0};
    assert_null(tokenizer_load(in(dir, "missing"), &err));
    assert_null(tokenizer_load(dir, &err));
    assert_non_null(strstr(err.msg, "in this folder"));
}

/* A regular expression of a file may not run for ever. */
static void test_slow_regex(void **state) {
    (void)state;
    json_t *members = json_loads("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a|aa)+[bc]\"}, "
                                 "\"behavior\": \"Isolated\"}}",
                                 0, NULL);
    struct tokenizer *t = load(variant("bytes.json", members));
    struct err err = {0};
    struct ids ids = {0};
    char text[200];
    memset(text, 'a', sizeof text);
    assert_int_equal(tokenizer_encode(t, text, sizeof text, &ids, &err), -1);
    assert_non_null(strstr(err.msg, "regular expression"));
    assert_int_equal(ids.n, 0);
    ids_free(&ids);
    tokenizer_free(t);
    json_decref(members);
}

/* Every allocation that fails is reported; nothing leaks (teardown looks) and the result keeps what it held. */
static void test_faults(void **state) {
    (void)state;
    static const char *const files[] = {"llama.model", "rules.model", "llama.json", "bytes.json", "chars.json"};
    const char *text =
        "The hen <sep> e\u0301 \xFF 1872 <mask> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
        bool reached = true;
        for (long n = 1; reached; n++) {
            struct err err = {0};
            struct ids ids = {0};
            struct bytes out = {0};
            fault_set(FAULT_ALLOC, n, false);
            struct tokenizer *t = tokenizer_load(in(GOLDEN, files[k]), &err);
            int r = t ? tokenizer_encode(t, text, (int64_t)strlen(text), &ids, &err) : -1;
            if (t && r < 0) assert_int_equal(ids.n, 0);
            if (r == 0 && (r = tokenizer_decode(t, ids.v, ids.n, false, &out, &err)) < 0) assert_int_equal(out.n, 0);
            reached = fault_count(FAULT_ALLOC) >= n;
            fault_set(FAULT_ALLOC, 0, false);
            if (reached != (r < 0)) fail_msg("%s: allocation %ld", files[k], n);
            ids_free(&ids);
            bytes_free(&out);
            tokenizer_free(t);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),           cmocka_unit_test(test_llama),      cmocka_unit_test(test_stories260k),
        cmocka_unit_test(test_bad_utf8),         cmocka_unit_test(test_copies),     cmocka_unit_test(test_roles),
        cmocka_unit_test(test_vocab_and_merges), cmocka_unit_test(test_long_word),  cmocka_unit_test(test_threads),
        cmocka_unit_test(test_merge_engine),     cmocka_unit_test(test_bad_ids),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_slow_regex),       cmocka_unit_test(test_many_words), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
