/* Training of byte-level BPE: against a trainer that recounts everything each time, ties, limits, threads, special
 * tokens, what is written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <omp.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "text/added.h"
#include "text/bpe_count.h"
#include "text/pretoken.h"
#include "text/bpe_train.h"
#include "text/tokenizer.h"
#include "data_help.h"

static char *dir;

static int setup(void **state) {
    (void)state;
    dir = scratch_new();
    progress_quiet = true;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    assert_int_equal(mem_in_use(), 0);
    return 0;
}

struct texts {
    const char *const *text;
    int64_t n, at;
    int fail; /* next() fails at this document */
};

static int next(void *ctx, const char **text, int64_t *n, struct err *err) {
    struct texts *t = ctx;
    if (t->fail && t->at + 1 == t->fail) return err_set(err, "reading failed");
    if (t->at == t->n) return 0;
    *text = t->text[t->at++];
    *n = (int64_t)strlen(*text);
    return 1;
}

static const char *const end_only[] = {"<|endoftext|>", NULL};

static int train(const char *path, const char *const *text, int64_t n, int64_t vocab, int64_t min_count,
                 struct err *err) {
    struct texts t = {.text = text, .n = n};
    struct bpe_train_settings s = {.vocab_size = vocab, .min_count = min_count, .specials = end_only};
    return bpe_train(path, &s, next, &t, err);
}

/* Merges of a tokenizer.json, joined by commas; the caller frees. */
static char *merges_of(const char *path) {
    json_t *v = json_load_file(path, 0, NULL), *m;
    assert_non_null(v);
    size_t i, size;
    char *out;
    FILE *f = open_memstream(&out, &size);
    json_array_foreach(json_object_get(json_object_get(v, "model"), "merges"), i, m)
        fprintf(f, "%s,", json_string_value(m));
    fclose(f);
    json_decref(v);
    return out;
}

static void expect_merges(const char *text, int64_t merges, int64_t min_count, const char *want) {
    struct err err = {0};
    const char *path = in(dir, "t.json");
    if (train(path, &text, 1, 257 + merges, min_count, &err) < 0) fail_msg("%s", err.msg);
    char *got = merges_of(path);
    assert_string_equal(got, want);
    free(got);
}

static void test_order(void **state) {
    (void)state;
    /* \u0120 is the space: " a", "cd" and " c" all come twice; of equal counts the smaller ids are first, and the
     * space's is larger than the letters' */
    expect_merges("ab ab ab cd cd", 10, 2, "a b,c d,\u0120 ab,\u0120 cd,");
    expect_merges("ab ab ab cd cd", 2, 2, "a b,c d,");
    expect_merges("ab ab ab cd cd", 10, 3, "a b,");
    expect_merges("ba ba ab ab", 1, 1, "a b,"); /* ties: \u0120 has the largest id, then "a b" before "b a" */
    expect_merges("aaaaa", 10, 1, "a a,aa a,aa aaa,");
    expect_merges("aaaaa", 10, 2, "a a,");        /* aa aa a: each pair of what is left only once */
    expect_merges("xyxyxy", 10, 2, "x y,xy xy,"); /* xyxy xy, overlapping counts of xy xy: 2 */
}

/* Words of letters only, with counts; the naive trainer. */
struct word {
    int32_t s[16];
    int n;
    int64_t count;
};

static char *naive(struct word *w, int words, int merges, int64_t min_count, char names[][20]) {
    char *out;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    for (int m = 0; m < merges; m++) {
        static int64_t count[60][60];
        memset(count, 0, sizeof count);
        int best_a = -1, best_b = -1;
        for (int i = 0; i < words; i++) {
            for (int k = 0; k + 1 < w[i].n; k++) count[w[i].s[k]][w[i].s[k + 1]] += w[i].count;
        }
        for (int a = 0; a < 60; a++) {
            for (int b = 0; b < 60; b++) {
                if (count[a][b] >= min_count && (best_a < 0 || count[a][b] > count[best_a][best_b]))
                    best_a = a, best_b = b;
            }
        }
        if (best_a < 0) break;
        fprintf(f, "%s %s,", names[best_a], names[best_b]);
        char both[40];
        snprintf(both, sizeof both, "%s%s", names[best_a], names[best_b]);
        strcpy(names[4 + m], both);
        for (int i = 0; i < words; i++) {
            int n = 0;
            for (int k = 0; k < w[i].n; n++) {
                bool here = k + 1 < w[i].n && w[i].s[k] == best_a && w[i].s[k + 1] == best_b;
                w[i].s[n] = here ? 4 + m : w[i].s[k];
                k += here ? 2 : 1;
            }
            w[i].n = n;
        }
    }
    fclose(f);
    return out;
}

static void test_against_naive(void **state) {
    (void)state;
    for (uint64_t trial = 0; trial < 60; trial++) {
        enum { WORDS = 40 };
        struct word w[WORDS];
        char names[60][20] = {"a", "b", "c", "d"}, *text;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        for (int i = 0; i < WORDS; i++) {
            uint64_t k = (uint64_t)i * 32;
            w[i].n = 1 + (int)rng_below(1, RNG_TEST, trial, k, 9);
            w[i].count = 1 + (int64_t)rng_below(1, RNG_TEST, trial, k + 1, 4);
            char word[20] = "";
            for (int j = 0; j < w[i].n; j++) {
                w[i].s[j] = (int32_t)rng_below(2, RNG_TEST, trial, k + (uint64_t)j, 2 + trial % 3);
                word[j] = (char)('a' + w[i].s[j]);
            }
            /* A line break before and after parts words without joining them. */
            for (int64_t c = 0; c < w[i].count; c++) fprintf(f, "%s\n", word);
        }
        fclose(f);
        int merges = 5 + (int)(trial % 40);
        char *want = naive(w, WORDS, merges, 2, names);
        expect_merges(text, merges, 2, want);
        free(want);
        free(text);
    }
}

/* One document, long enough for several blocks, and many short ones; the same file for any number of threads. */
static void test_threads(void **state) {
    (void)state;
    enum { LONG = 400000, DOCUMENTS = 50 };
    static const char *const parts[] = {"the ", "hen\n", "  geese", "\n\n", "caf\u00e9 ",
                                        "12",   "'s ",   "fox\n",   "\t",   "Mill, "};
    char *text[DOCUMENTS];
    const char *documents[DOCUMENTS];
    struct err err = {0};
    for (int d = 0; d < DOCUMENTS; d++) {
        size_t size;
        FILE *f = open_memstream(&text[d], &size);
        for (int i = 0; i < (d == 0 ? LONG / 4 : 50); i++)
            fputs(parts[rng_below(9, RNG_TEST, (uint64_t)d, (uint64_t)i, 10)], f);
        fclose(f);
        documents[d] = text[d];
    }
    int before = omp_get_max_threads();
    char *file[4];
    size_t size[4] = {0};
    for (int k = 0; k < 3; k++) {
        omp_set_num_threads(k == 0 ? 1 : k == 1 ? 2 : 5);
        if (train(in(dir, "t.json"), documents, DOCUMENTS, 300, 2, &err) < 0) fail_msg("%s", err.msg);
        file[k] = get(in(dir, "t.json"), &size[k]);
        assert_int_equal(size[k], size[0]);
        assert_memory_equal(file[k], file[0], size[0]);
    }
    omp_set_num_threads(before);
    for (int k = 0; k < 3; k++) free(file[k]);
    for (int d = 0; d < DOCUMENTS; d++) free(text[d]);
}

static int count_one(void *ctx, const char *text, int64_t n, struct err *err) {
    return word_counts_add(ctx, text, n, 1, err);
}

static int64_t count_of(const struct word_counts *w, const char *text, int64_t n) {
    for (int64_t i = 0; i < w->n; i++) {
        if (w->word[i].n == n && memcmp(w->text + w->word[i].at, text, (size_t)n) == 0) return w->word[i].count;
    }
    return 0;
}

/* A long document is cut into blocks for the threads where that cannot change its words. */
static void test_blocks(void **state) {
    (void)state;
    static const char *const parts[] = {"hen", "\n", " ", "\n\n", "\u00e9", "7", "'s", "!", "\t", "\u00a0"};
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (int i = 0; i < 200000; i++) fputs(parts[rng_below(4, RNG_TEST, 0, (uint64_t)i, 10)], f);
    fclose(f);
    struct err err = {0};
    struct pretoken p;
    struct pretoken_scratch s;
    struct added none = {.only_start = -1};
    struct word_counts whole = {0}, blocks = {0};
    const char *document = text;
    struct texts docs = {.text = &document, .n = 1};
    assert_int_equal(pretoken_gpt2(&p, &err), 0);
    assert_int_equal(pretoken_scratch_init(&s, &err), 0);
    assert_int_equal(pretoken_run(&p, &s, text, (int64_t)size, true, count_one, &whole, &err), 0);
    assert_int_equal(count_words(&blocks, &p, &none, next, &docs, &err), 0);
    assert_int_equal(blocks.n, whole.n);
    for (int64_t i = 0; i < whole.n; i++) {
        assert_int_equal(count_of(&blocks, whole.text + whole.word[i].at, whole.word[i].n), whole.word[i].count);
    }
    word_counts_free(&whole);
    word_counts_free(&blocks);
    pretoken_scratch_free(&s);
    pretoken_free(&p);
    free(text);
}

static void test_specials(void **state) {
    (void)state;
    struct err err = {0};
    static const char *const specials[] = {"<pad>", "<|endoftext|>", NULL};
    static const char *const text[] = {"one hen<|endoftext|>one hen<|endoftext|>", "one<pad>one",
                                       "one end text end text end"};
    struct texts docs = {.text = text, .n = 3};
    struct bpe_train_settings s = {.vocab_size = 300, .min_count = 2, .specials = specials};
    const char *path = in(dir, "t.json");
    if (bpe_train(path, &s, next, &docs, &err) < 0) fail_msg("%s", err.msg);
    char *merges = merges_of(path);
    assert_null(strstr(merges, "|")); /* the special tokens' own characters are not learnt from */
    free(merges);
    struct tokenizer *t = tokenizer_load(path, &err);
    if (!t) fail_msg("%s", err.msg);
    assert_int_equal(tokenizer_eos(t), 1);
    struct ids ids = {0};
    struct bytes back = {0};
    const char *all = "!one hen<|endoftext|>\x01\xC3\xA9 end<pad>";
    assert_int_equal(tokenizer_encode(t, all, (int64_t)strlen(all), &ids, &err), 0);
    assert_int_equal(ids.v[ids.n - 1], 0);
    assert_int_equal(ids.v[0], 2); /* the bytes follow in the order of their spelling */
    assert_int_equal(tokenizer_decode(t, ids.v, ids.n, true, &back, &err), 0);
    assert_string_equal(back.v, all);
    back.n = 0;
    assert_int_equal(tokenizer_decode(t, ids.v, ids.n, false, &back, &err), 0);
    assert_string_equal(back.v, "!one hen\x01\xC3\xA9 end");
    ids_free(&ids);
    bytes_free(&back);
    tokenizer_free(t);
}

static void test_refused(void **state) {
    (void)state;
    static const char *const same[] = {"<a>", "<a>", NULL}, *const short_one[] = {"a", NULL},
                             *const bad[] = {"\xFFzz", NULL}, *const empty[] = {"", NULL};
    static const struct {
        int64_t vocab;
        const char *const *specials;
        const char *says;
    } cases[] = {
        {256, end_only, "vocabulary of 256: expected 257"},
        {2000000, end_only, "1000000"},
        {300, same, "there twice"},
        {300, short_one, "two characters"},
        {300, bad, "UTF-8"},
        {300, empty, "two characters"},
    };
    const char *text = "some text";
    struct err err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct texts docs = {.text = &text, .n = 1};
        struct bpe_train_settings s = {.vocab_size = cases[i].vocab, .min_count = 2, .specials = cases[i].specials};
        assert_int_equal(bpe_train(in(dir, "no.json"), &s, next, &docs, &err), -1);
        if (!strstr(err.msg, cases[i].says)) fail_msg("%s", err.msg);
    }
    assert_int_equal(train(in(dir, "no.json"), &text, 0, 300, 2, &err), -1);
    assert_non_null(strstr(err.msg, "no text"));
    struct texts docs = {.text = &text, .n = 1, .fail = 2};
    struct bpe_train_settings s = {.vocab_size = 300, .min_count = 2, .specials = end_only};
    assert_int_equal(bpe_train(in(dir, "no.json"), &s, next, &docs, &err), -1);
    assert_string_equal(err.msg, "reading failed");
    assert_int_equal(access(in(dir, "no.json"), F_OK), -1);
}

/* Bytes that are not UTF-8, a word without end, no special tokens: nothing stops it. */
static void test_odd_text(void **state) {
    (void)state;
    struct err err = {0};
    char *big = malloc(300001);
    memset(big, 'z', 300000);
    big[300000] = 0;
    const char *text[] = {"\xFF\xFE ok ok", "", big, "ok ok ok"};
    struct texts docs = {.text = text, .n = 4};
    struct bpe_train_settings s = {.vocab_size = 400, .min_count = 2, .specials = NULL};
    if (bpe_train(in(dir, "t.json"), &s, next, &docs, &err) < 0) fail_msg("%s", err.msg);
    char *merges = merges_of(in(dir, "t.json"));
    assert_null(strstr(merges, "z z")); /* longer than any word: left out */
    assert_non_null(strstr(merges, "o k"));
    free(merges);
    free(big);
}

/* Every allocation and write that fails is reported, and nothing leaks (teardown looks). */
static void test_faults(void **state) {
    (void)state;
    static const char *const text[] = {"one hen, two hens\n", "one goose, two geese and <|endoftext|>"};
    const char *path = in(dir, "fault.json");
    struct err err = {0};
    for (int kind = FAULT_ALLOC; kind < FAULT_KINDS; kind++) {
        if (kind == FAULT_READ) continue;
        long n = 1;
        for (;; n++) {
            remove(path);
            fault_set((enum fault_kind)kind, n, false);
            int r = train(path, text, 2, 270, 2, &err);
            bool reached = fault_count((enum fault_kind)kind) >= n;
            fault_set((enum fault_kind)kind, 0, false);
            if (!reached) break;
            if (r != -1) fail_msg("kind %d, number %ld: not noticed", kind, n);
            /* the last fsync is the folder's, when the file has its name already */
            if (kind != FAULT_FSYNC || n == 1) assert_int_equal(access(path, F_OK), -1);
        }
        assert_true(n > 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_against_naive), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_specials),      cmocka_unit_test(test_odd_text),
        cmocka_unit_test(test_faults),  cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
