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
    struct loader *l = loader_open(s, n, &(struct loader_settings){BLOCK, VOCAB, window, seed}, &err);
    if (!l) fail_msg("%s", err.msg);
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
    return (struct loader_source){dir, "train_x", 1};
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
    struct loader_source s = {dir, NULL, 1};
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

static void mixing(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(in(dir, "a"), "t", 0, 400, 100);
    source(in(dir, "b"), "t", 10000, 200, 50);
    source(in(dir, "c"), "t", 20000, 50, 50);
    struct loader_source s[3] = {{in(dir, "a"), "t", 6}, {in(dir, "b"), "t", 3}, {in(dir, "c"), "t", 0.0009}};
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

static void refuse(const struct loader_source *s, int n, const char *word) {
    struct err err = {0};
    assert_null(loader_open(s, n, &(struct loader_settings){BLOCK, 1000, 8, 1}, &err));
    assert_says(err, word);
}

static void small_and_wrong(void **state) {
    (void)state;
    char *dir = scratch_fast();
    struct err err = {0};
    int32_t t[BLOCK];
    source(in(dir, "one"), "t", 0, 7, 100);
    struct loader_source one = {in(dir, "one"), NULL, 0};
    struct loader *l = load(&one, 1, 8, 1); /* one block, again and again */
    assert_int_equal(loader_blocks(l), 1);
    for (int i = 0; i < 5; i++) assert_int_equal(block(l, i), 0);
    loader_close(l);
    source(in(dir, "short"), "t", 0, 4, 100);
    refuse(&(struct loader_source){in(dir, "short"), NULL, 1}, 1, "one block of 5 tokens");
    refuse(&(struct loader_source){in(dir, "one"), "validation", 1}, 1, "no chunk files 'validation*.bin'");
    refuse(&(struct loader_source){in(dir, "none"), NULL, 1}, 1, "none");
    refuse((struct loader_source[]){one, {in(dir, "one"), NULL, -1}}, 2, "weight");
    refuse(&one, 0, "0 sources");
    /* a single file as a source */
    struct loader_source file = {in(dir, "one/t_0_0000000000.bin"), "ignored", 1};
    l = load(&file, 1, 0, 1);
    uint64_t print = loader_fingerprint(l);
    assert_int_equal(block(l, 3), 0);
    loader_close(l);
    /* other ids, same size: same fingerprint by design; other length: another */
    source(in(dir, "one"), "t", 0, 8, 100);
    l = load(&file, 1, 0, 1);
    assert_true(loader_fingerprint(l) != print);
    loader_close(l);
    /* ids beyond the vocabulary are found when they are read */
    source(in(dir, "big"), "t", 998, 10, 100);
    l = loader_open(&(struct loader_source){in(dir, "big"), NULL, 1}, 1, &(struct loader_settings){BLOCK, 1000, 0, 1},
                    &err);
    assert_non_null(l);
    assert_int_equal(loader_block(l, 0, t, &err), -1);
    assert_says(err, "token 2 is id 1000");
    loader_close(l);
    loader_close(NULL);
    assert_int_equal(mem_in_use(), 0);
    scratch_free(dir);
}

/* More files than may be open at a time; one is replaced by a shorter one under the run. */
static void many_files(void **state) {
    (void)state;
    char *dir = scratch_fast();
    source(dir, "t", 0, 600 * BLOCK, BLOCK);
    struct loader_source s = {dir, "t", 1};
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
        cmocka_unit_test(small_and_wrong),
        cmocka_unit_test(many_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
