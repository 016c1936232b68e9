/* The loader: every block once per epoch, shuffled inside its window and nowhere else, exact mixing, any block at any
 * time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/chunk.h"
#include "data/loader.h"
#include "data_help.h"

enum { BLOCK = 5, VOCAB = 1000000 };

/* Chunk files in which token i of the source is first + i, so that a block names its place. */
static void source(const char *dir, const char *prefix, int32_t first, int64_t tokens, int64_t chunk) {
    struct err err = {0};
    mkdir(dir, 0777);
    struct chunk_writer *w = chunk_writer_open(dir, prefix, 0, VOCAB, chunk, &err);
    for (int32_t i = 0; i < tokens; i++) {
        int32_t id = first + i;
        assert_int_equal(chunk_writer_add(w, &id, 1, &err), 0);
    }
    assert_int_equal(chunk_writer_close(w, NULL, NULL, &err), 0);
}

static struct loader *load(const struct loader_source *s, int n, int window, uint64_t seed) {
    struct err err = {0};
    struct loader *l;
    const struct loader_settings set = {.block = BLOCK, .vocab = VOCAB, .window = window, .seed = seed};
    if (loader_open(&l, s, n, &set, &err) < 0) fail_msg("%s", err.msg);
    return l;
}

/* First token of a block; checks that the others follow it. */
static int32_t block(struct loader *l, int64_t number) {
    struct err err = {0};
    int32_t t[BLOCK];
    if (loader_block(l, number, t, &err) < 0) fail_msg("%s", err.msg);
    for (int i = 1; i < BLOCK; i++) assert_int_equal(t[i], t[0] + i);
    return t[0];
}

/* 6 chunks of 21 tokens (4 blocks, a tail of 1) and one of 13 (2 blocks, a tail of 3): 26 blocks. */
static struct loader_source make_seven(const char *dir) {
    source(dir, "train_x", 0, 6 * 21 + 13, 21);
    return (struct loader_source){dir, 1};
}

static int file_of(int32_t token) {
    return token / 21;
}

static void in_order(void **state) {
    (void)state;
    char *dir = scratch_fast();
    struct loader_source s = make_seven(dir);
    struct loader *l = load(&s, 1, 0, 1);
    assert_int_equal(loader_blocks(l), 26);
    for (int64_t b = 0; b < 60; b++) {
        int64_t k = b % 26;
        assert_int_equal(block(l, b), k / 4 * 21 + k % 4 * BLOCK);
    }
    assert_true(loader_epoch(l, 0) == 0 && loader_epoch(l, 13) == 0.5 && loader_epoch(l, 52) == 2);
    loader_close(l);
    scratch_free(dir);
}

/* Epoch after epoch: all blocks once, each window's files together, orders that differ. */
static void window_shuffle(void **state) {
    (void)state;
    char *dir = scratch_fast();
    struct loader_source s = make_seven(dir);
    struct loader *l = load(&s, 1, 3, 42);
    int same_as_before = 0, in_place = 0;
    for (int64_t epoch = 0; epoch < 20; epoch++) {
        int seen[140] = {0};
        int left[7] = {4, 4, 4, 4, 4, 4, 2}, begun = 0, widest = 0;
        for (int64_t i = 0; i < 26; i++) {
            int32_t t = block(l, epoch * 26 + i);
            assert_int_equal(seen[t]++, 0);
            assert_int_equal(t % 21 % BLOCK, 0);
            same_as_before += epoch > 0 && t == block(l, (epoch - 1) * 26 + i);
            in_place += t == i / 4 * 21 + i % 4 * BLOCK;
            /* files come in windows of at most 3: between two windows every file begun is used up */
            int open = 0;
            begun += left[file_of(t)] == (file_of(t) < 6 ? 4 : 2);
            left[file_of(t)]--;
            for (int f = 0; f < 7; f++) open += left[f] > 0 && left[f] < (f < 6 ? 4 : 2);
            if (begun > widest) widest = begun;
            if (open == 0) begun = 0;
        }
        for (int f = 0; f < 7; f++) assert_int_equal(left[f], 0);
        assert_in_range(widest, 2, 3);
    }
    /* 12 blocks or so a window: about 1 in 12 stays, of 19 · 26 and 20 · 26 */
    assert_in_range(same_as_before, 20, 110);
    assert_in_range(in_place, 0, 110);
    loader_close(l);
    scratch_free(dir);
}

/* A block of 6 must come to each of the 6 places equally often: chi-square, 5 degrees of freedom, 25.7 at 1e-4. */
static void shuffle_is_uniform(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(dir, "t", 0, 30, 30);
    struct loader_source s = {dir, 1};
    struct loader *l = load(&s, 1, 8, 7);
    enum { EPOCHS = 3000 };
    int count[6][6] = {{0}};
    for (int64_t b = 0; b < 6 * EPOCHS; b++) count[block(l, b) / BLOCK][b % 6]++;
    for (int i = 0; i < 6; i++) {
        double chi = 0, expected = EPOCHS / 6.0;
        for (int j = 0; j < 6; j++) chi += (count[i][j] - expected) * (count[i][j] - expected) / expected;
        assert_true(chi < 25.7);
    }
    loader_close(l);
    scratch_free(dir);
}

static void function_of_the_number(void **state) {
    (void)state;
    char *dir = scratch_fast();
    struct loader_source s = make_seven(dir);
    struct loader *a = load(&s, 1, 2, 9), *b = load(&s, 1, 2, 9), *other = load(&s, 1, 2, 10);
    int32_t first[300];
    int differ = 0;
    for (int64_t i = 0; i < 300; i++) {
        first[i] = block(a, i);
        differ += first[i] != block(other, i);
    }
    for (int64_t i = 0; i < 300; i++) assert_int_equal(block(b, i * 77 % 300), first[i * 77 % 300]);
    assert_true(differ > 200);
    block(a, 1000000000000000); /* far away costs nothing */
    assert_true(loader_fingerprint(a) == loader_fingerprint(b));
    loader_close(a);
    loader_close(b);
    loader_close(other);
    scratch_free(dir);
}

/* Shares of 1000 blocks: 142.9, 285.7 and 571.4; the two that are left go to those to whom most is due. */
static void shares(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(in(dir, "a"), "t", 0, 100, 100);
    source(in(dir, "b"), "t", 10000, 100, 100);
    source(in(dir, "c"), "t", 20000, 100, 100);
    struct loader_source s[3] = {{in(dir, "a"), 1}, {in(dir, "b"), 2}, {in(dir, "c"), 4}};
    struct loader *l = load(s, 3, 2, 5);
    int n[3] = {0};
    for (int64_t i = 0; i < 1000; i++) n[block(l, i) / 10000]++;
    assert_int_equal(n[0], 143);
    assert_int_equal(n[1], 286);
    assert_int_equal(n[2], 571);
    loader_close(l);
    scratch_free(dir);
}

static void mixing(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(in(dir, "a"), "t", 0, 400, 100);
    source(in(dir, "b"), "t", 10000, 200, 50);
    source(in(dir, "c"), "t", 20000, 50, 50);
    struct loader_source s[3] = {{in(dir, "a"), 6}, {in(dir, "b"), 3}, {in(dir, "c"), 0.0009}};
    struct loader *l = load(s, 3, 2, 5);
    assert_int_equal(loader_blocks(l), 80 + 40 + 10);
    enum { N = 5000 };
    int8_t which[N];
    int seen_a[80] = {0}, turns = 0;
    for (int64_t i = 0; i < N; i++) {
        int32_t t = block(l, i);
        which[i] = (int8_t)(t / 10000);
        turns += i > 0 && which[i] != which[i - 1];
        if (which[i] == 0) seen_a[t / BLOCK]++;
    }
    /* any 1000 in a row: 6 / 9.0009 and 3 / 9.0009 of 1000, and never less than 1 */
    int n[3] = {0};
    for (int i = 0; i < N; i++) {
        n[which[i]]++;
        if (i >= 1000) n[which[i - 1000]]--;
        if (i < 999) continue;
        assert_in_range(n[0], 666, 667);
        assert_in_range(n[1], 332, 333);
        assert_int_equal(n[2], 1);
    }
    assert_true(turns > 1500); /* mixed, not in runs */
    for (int i = 0; i < 80; i++) assert_in_range(seen_a[i], N * 2 / 3 / 80 - 1, N * 2 / 3 / 80 + 2);
    double epochs = loader_epoch(l, 1000); /* of b, 333 of 40: the most used */
    assert_true(epochs > 8.29 && epochs < 8.33);
    loader_close(l);
    scratch_free(dir);
}

/* Without a window nothing is mixed: the sources one behind the other, each block once, whatever weights and seed. */
static void sources_in_order(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(in(dir, "a"), "t", 0, 400, 100);
    source(in(dir, "b"), "t", 10000, 15, 10);
    source(in(dir, "c"), "t", 20000, 50, 50);
    struct loader_source s[3] = {{in(dir, "a"), 1}, {in(dir, "b"), 30}, {in(dir, "c"), 2}};
    for (uint64_t seed = 1; seed < 3; seed++) {
        struct loader *l = load(s, 3, 0, seed);
        assert_int_equal(loader_blocks(l), 80 + 3 + 10);
        for (int32_t b = 0; b < 2 * 93; b++) {
            const int32_t i = b % 93;
            assert_int_equal(block(l, b), i < 80   ? i * BLOCK
                                          : i < 83 ? 10000 + (i - 80) * BLOCK
                                                   : 20000 + (i - 83) * BLOCK);
        }
        assert_true(loader_epoch(l, 2 * 93) == 2);
        loader_close(l);
    }
    scratch_free(dir);
}

static void refuse(const struct loader_source *s, int n, const char *word) {
    struct err err = {0};
    struct loader *l;
    const struct loader_settings set = {.block = BLOCK, .vocab = 1000, .window = 8, .seed = 1};
    assert_int_equal(loader_open(&l, s, n, &set, &err), -1);
    assert_null(l);
    assert_says(err, word);
}

static void small_and_wrong(void **state) {
    (void)state;
    char *dir = scratch_fast();
    struct err err = {0};
    int32_t t[BLOCK];
    source(in(dir, "one"), "t", 0, 7, 100);
    struct loader_source one = {in(dir, "one"), 0};
    struct loader *l = load(&one, 1, 8, 1); /* one block, again and again */
    assert_int_equal(loader_blocks(l), 1);
    for (int i = 0; i < 5; i++) assert_int_equal(block(l, i), 0);
    loader_close(l);
    source(in(dir, "short"), "t", 0, 4, 100);
    refuse(&(struct loader_source){in(dir, "short"), 1}, 1, "one block of 5 tokens");
    refuse(&(struct loader_source){in(dir, "none"), 1}, 1, "none");
    refuse((struct loader_source[]){one, {in(dir, "one"), -1}}, 2, "weight");
    refuse(&one, 0, "0 sources");
    /* a single file as a source */
    struct loader_source file = {in(dir, "one/t_0_0000000000.bin"), 1};
    l = load(&file, 1, 0, 1);
    uint64_t print = loader_fingerprint(l);
    assert_int_equal(block(l, 3), 0);
    loader_close(l);
    source(in(dir, "one"), "t", 0, 8, 100);
    l = load(&file, 1, 0, 1);
    assert_true(loader_fingerprint(l) != print);
    loader_close(l);
    /* ids beyond the vocabulary are found when they are read */
    source(in(dir, "big"), "t", 998, 10, 100);
    const struct loader_settings small = {.block = BLOCK, .vocab = 1000};
    assert_int_equal(loader_open(&l, &(struct loader_source){in(dir, "big"), 1}, 1, &small, &err), 0);
    assert_int_equal(loader_block(l, 0, t, &err), -1);
    assert_says(err, "token 2 is id 1000");
    loader_close(l);
    loader_close(NULL);
    assert_int_equal(mem_in_use(), 0);
    scratch_free(dir);
}

/* ---- which chunks ---- */

/* A set's entry of a manifest: chunk files of 20 tokens. */
static void stream_json(FILE *f, const char *set, const char *digest, int vocab, const char *streams) {
    fprintf(f, "\"%s\": {\"tokenizer\": {\"digest\": \"%s\", \"vocab\": %d}, \"settings\": {\"chunk_tokens\": 20}, ",
            set, digest, vocab);
    fprintf(f, "\"streams\": {%s}}", streams);
}

static void manifest(const char *path, const char *set, const char *digest, int vocab, const char *streams) {
    FILE *f = fopen(in(path, "manifest.json"), "w");
    assert_non_null(f);
    fprintf(f, "{\"format\": \"mdm-chunks\", \"version\": 1, \"sets\": {");
    stream_json(f, set, digest, vocab, streams);
    fprintf(f, "}}\n");
    assert_int_equal(fclose(f), 0);
}

static int open_split(struct loader **l, const struct loader_source *s, int n, enum split split, const char *tokenizer,
                      struct err *err) {
    const struct loader_settings set = {.split = split, .block = BLOCK, .vocab = VOCAB, .tokenizer = tokenizer};
    return loader_open(l, s, n, &set, err);
}

/* First tokens of one pass, which must be these and no others. */
static void holds(const char *path, enum split split, const int32_t *want, int64_t n) {
    struct err err = {0};
    struct loader *l;
    if (open_split(&l, &(struct loader_source){path, 1}, 1, split, NULL, &err) < 0) fail_msg("%s", err.msg);
    if (n == 0) {
        assert_null(l);
        return;
    }
    assert_int_equal(loader_blocks(l), n);
    for (int64_t i = 0; i < n; i++) assert_int_equal(block(l, i), want[i]);
    loader_close(l);
}

/* Whatever the splits are called, training never sees a block of validation. */
static void splits_by_name(void **state) {
    (void)state;
    char *dir = scratch_fast();
    struct err err = {0};
    struct loader *l;
    const int32_t train[] = {0, 5}, other[] = {100, 105}, valid[] = {200, 205}, both[] = {100, 105, 0, 5};
    source(dir, "train_a", 0, 10, 10);
    source(dir, "test_a", 100, 10, 10);
    source(dir, "validation_a", 200, 10, 10);
    put_text(in(dir, "tokenizer.bin"), "no chunk");
    holds(dir, SPLIT_TRAIN, train, 2);
    holds(dir, SPLIT_VALIDATION, valid, 2);
    unlink(in(dir, "train_a_0_0000000000.bin"));
    holds(dir, SPLIT_TRAIN, other, 2);
    rename(in(dir, "validation_a_0_0000000000.bin"), in(dir, "valid_a_0_0000000000.bin"));
    holds(dir, SPLIT_TRAIN, other, 2);
    holds(dir, SPLIT_VALIDATION, valid, 2);
    rename(in(dir, "valid_a_0_0000000000.bin"), in(dir, "val.bin"));
    holds(dir, SPLIT_TRAIN, other, 2);
    holds(dir, SPLIT_VALIDATION, valid, 2);
    rename(in(dir, "val.bin"), in(dir, "valid_a_0_0000000000.bin"));
    source(dir, "z", 0, 10, 10);
    holds(dir, SPLIT_TRAIN, both, 4);
    holds(in(dir, "valid_a_0_0000000000.bin"), SPLIT_VALIDATION, valid, 2);
    holds(in(dir, "test_a_0_0000000000.bin"), SPLIT_VALIDATION, NULL, 0);
    const struct loader_source v = {in(dir, "valid_a_0_0000000000.bin"), 1};
    assert_int_equal(open_split(&l, &v, 1, SPLIT_TRAIN, NULL, &err), -1);
    assert_says(err, "no chunk files to train on");
    unlink(in(dir, "z_0_0000000000.bin"));
    unlink(in(dir, "test_a_0_0000000000.bin"));
    const struct loader_source only = {dir, 1};
    assert_int_equal(open_split(&l, &only, 1, SPLIT_TRAIN, NULL, &err), -1);
    assert_says(err, "no chunk files to train on");
    /* damaged or short validation is told */
    source(dir, "valid_a", 0, 3, 10);
    assert_int_equal(open_split(&l, &only, 1, SPLIT_VALIDATION, NULL, &err), -1);
    assert_says(err, "no validation chunk file there holds one block of 5 tokens");
    put_text(in(dir, "valid_a_0_0000000000.bin"), "LITPK");
    assert_int_equal(open_split(&l, &only, 1, SPLIT_VALIDATION, NULL, &err), -1);
    assert_says(err, "not a chunk file");
    put_text(in(dir, "prepare_train_a.json"), "{}");
    assert_int_equal(open_split(&l, &only, 1, SPLIT_TRAIN, NULL, &err), -1);
    assert_says(err, "not finished");
    scratch_free(dir);
}

static void splits_by_manifest(void **state) {
    (void)state;
    char *dir = scratch_fast();
    struct err err = {0};
    struct loader *l;
    const char *const streams = "\"train_a\": {\"documents\": 1, \"tokens\": 30, \"files\": 2,"
                                " \"tokens_in_shorter_last_file\": 10}, \"validation_a\": {\"documents\": 1,"
                                " \"tokens\": 20, \"files\": 1, \"tokens_in_shorter_last_file\": 0}";
    const int32_t train[] = {0, 5, 10, 15, 20, 25}, valid[] = {200, 205, 210, 215};
    source(dir, "train_a", 0, 30, 20);
    source(dir, "train_old", 500, 30, 20); /* on nobody's list */
    source(dir, "validation_a", 200, 20, 20);
    source(dir, "validation_old", 700, 20, 20);
    manifest(dir, "train_a", "aaaa", 1000, streams);
    holds(dir, SPLIT_TRAIN, train, 6);
    holds(dir, SPLIT_VALIDATION, valid, 4);
    /* the tokenizer */
    const struct loader_source a = {dir, 1}, two[2] = {a, {in(dir, "b"), 1}};
    assert_int_equal(open_split(&l, &a, 1, SPLIT_TRAIN, "aaaa", &err), 0);
    loader_close(l);
    assert_int_equal(open_split(&l, &a, 1, SPLIT_TRAIN, "bbbb", &err), -1);
    assert_says(err, "prepared with another tokenizer");
    source(two[1].path, "train_a", 0, 30, 20);
    assert_int_equal(open_split(&l, two, 2, SPLIT_TRAIN, "aaaa", &err), 0); /* published folders do not say */
    loader_close(l);
    manifest(two[1].path, "train_a", "bbbb", 1000,
             "\"train_a\": {\"tokens\": 30, \"files\": 2, \"tokens_in_shorter_last_file\": 10}");
    assert_int_equal(open_split(&l, two, 2, SPLIT_TRAIN, NULL, &err), -1);
    assert_says(err, "than the data before it");
    manifest(dir, "train_a", "aaaa", VOCAB + 1, streams);
    assert_int_equal(open_split(&l, &a, 1, SPLIT_TRAIN, "aaaa", &err), -1);
    assert_says(err, "vocabulary of 1000001");
    /* lengths; files that are gone */
    manifest(dir, "train_a", "aaaa", 1000, streams);
    source(dir, "train_a", 0, 29, 20);
    assert_int_equal(open_split(&l, &a, 1, SPLIT_TRAIN, NULL, &err), -1);
    assert_says(err, "train_a_0_0000000001.bin: 9 tokens, manifest.json says 10");
    unlink(in(dir, "validation_a_0_0000000000.bin"));
    assert_int_equal(open_split(&l, &a, 1, SPLIT_VALIDATION, NULL, &err), -1);
    assert_says(err, "validation_a_0_0000000000.bin");
    manifest(dir, "train_a", "aaaa", 1000,
             "\"train_a\": {\"tokens\": 31, \"files\": 1,"
             " \"tokens_in_shorter_last_file\": 0}");
    assert_int_equal(open_split(&l, &a, 1, SPLIT_TRAIN, NULL, &err), -1);
    assert_string_equal(strstr(err.msg, "31 tokens"), "31 tokens do not fill 1 file");
    /* a split of another name is trained on, its validation is not */
    manifest(dir, "web_a", "aaaa", 1000,
             "\"web_a\": {\"tokens\": 20, \"files\": 1, \"tokens_in_shorter_last_file\": 0},"
             " \"validation_a\": {\"tokens\": 20, \"files\": 1,"
             " \"tokens_in_shorter_last_file\": 0}");
    source(dir, "web_a", 0, 20, 20);
    source(dir, "validation_a", 200, 20, 20);
    holds(dir, SPLIT_TRAIN, train, 4);
    holds(dir, SPLIT_VALIDATION, valid, 4);
    assert_int_equal(mem_in_use(), 0);
    scratch_free(dir);
}

static uint64_t print_of_window(const struct loader_source *s, int n, int window) {
    struct loader *l = load(s, n, window, 1);
    uint64_t print = loader_fingerprint(l);
    loader_close(l);
    return print;
}

static uint64_t print_of(const struct loader_source *s, int n) {
    return print_of_window(s, n, 2);
}

/* Other contents, another weight: other data. A change of weights that changes no share is none. */
static void fingerprints(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(in(dir, "a"), "t", 0, 400, 100);
    source(in(dir, "b"), "t", 10000, 200, 50);
    struct loader_source s[2] = {{in(dir, "a"), 2}, {in(dir, "b"), 1}};
    uint64_t first = print_of(s, 2);
    assert_true(print_of(s, 2) == first);
    s[0].weight = 3;
    assert_true(print_of(s, 2) != first);
    s[0].weight = 2.0001;
    assert_true(print_of(s, 2) == first);
    s[0].weight = 2;
    for (int i = 0; i < 100; i += 33) { /* one token of one file, anywhere */
        size_t n = 0;
        const char *path = in(dir, "a/t_0_0000000002.bin");
        char *data = get(path, &n);
        data[CHUNK_HEADER + 4 * i + 3] ^= 1;
        put(path, data, n);
        uint64_t changed = print_of(s, 2);
        assert_true(changed != first);
        data[CHUNK_HEADER + 4 * i + 3] ^= 1;
        put(path, data, n);
        free(data);
    }
    assert_true(print_of(s, 2) == first);
    const struct loader_source turned[2] = {s[1], s[0]};
    assert_true(print_of(turned, 2) != first);
    scratch_free(dir);
}

/* Sources in order are other data than the same mixed, which validation once was, and weights are nothing to them. Of a
 * single one all windows hold the same. */
static void fingerprints_in_order(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(in(dir, "a"), "t", 0, 400, 100);
    source(in(dir, "b"), "t", 10000, 200, 50);
    struct loader_source s[2] = {{in(dir, "a"), 2}, {in(dir, "b"), 1}};
    const struct loader_source turned[2] = {s[1], s[0]};
    const uint64_t first = print_of_window(s, 2, 0);
    assert_true(first != print_of(s, 2));
    assert_true(print_of_window(turned, 2, 0) != first);
    s[0].weight = 3;
    assert_true(print_of_window(s, 2, 0) == first);
    assert_true(print_of_window(s, 1, 0) == print_of(s, 1));
    scratch_free(dir);
}

/* More files than may be open at a time; one is replaced by a shorter one under the run. */
static void many_files(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(dir, "t", 0, 600 * BLOCK, BLOCK);
    struct loader_source s = {dir, 1};
    struct loader *l = load(&s, 1, 600, 3);
    bool seen[600] = {false};
    for (int64_t i = 0; i < 600; i++) {
        int32_t b = block(l, i) / BLOCK;
        assert_false(seen[b]);
        seen[b] = true;
    }
    struct err err = {0};
    int32_t t[BLOCK];
    for (int f = 0; f < 600; f++) {
        char name[64];
        snprintf(name, sizeof name, "t_0_%010d.bin", f);
        put(in(dir, name), "LITPKDS\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\0", 24);
    }
    int failed = 0;
    for (int64_t i = 0; i < 600; i++) failed += loader_block(l, i, t, &err) < 0;
    assert_true(failed > 300);
    assert_says(err, "when the run began");
    loader_close(l);
    scratch_free(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(window_shuffle),
        cmocka_unit_test(shuffle_is_uniform),
        cmocka_unit_test(function_of_the_number),
        cmocka_unit_test(mixing),
        cmocka_unit_test(sources_in_order),
        cmocka_unit_test(shares),
        cmocka_unit_test(small_and_wrong),
        cmocka_unit_test(splits_by_name),
        cmocka_unit_test(splits_by_manifest),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(fingerprints_in_order),
        cmocka_unit_test(many_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
