/* Chunk files: the exact bytes, round trips in both widths, every integer type, the writer's files, hostile files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/chunk.h"
#include "data_help.h"

static void write_all(const char *dir, int64_t vocab, int64_t chunk, const int32_t *ids, int64_t n, int64_t *files) {
    struct err err = {0};
    int64_t tokens;
    struct chunk_writer *w = chunk_writer_open(dir, "train_x", 0, vocab, chunk, &err);
    assert_non_null(w);
    assert_int_equal(chunk_writer_add(w, ids, n, &err), 0);
    assert_int_equal(chunk_writer_close(w, files, &tokens, &err), 0);
    assert_int_equal(tokens, n);
}

static void header_bytes(void **state) {
    (void)state;
    char *dir = scratch_new();
    int64_t files;
    const int32_t ids[3] = {1, 258, 31999};
    write_all(dir, 32000, 8, ids, 3, &files);
    const unsigned char narrow[] = {'L', 'I', 'T', 'P', 'K', 'D', 'S', 1, 0, 0, 0, 0, 0, 0,    0,
                                    8,   3,   0,   0,   0,   0,   0,   0, 0, 1, 0, 2, 1, 0xff, 0x7c};
    size_t n;
    char *data = get(in(dir, "train_x_0_0000000000.bin"), &n);
    assert_int_equal(n, sizeof narrow);
    assert_memory_equal(data, narrow, n);
    free(data);
    write_all(dir, 65500, 8, ids, 1, &files);
    const unsigned char wide[] = {'L', 'I', 'T', 'P', 'K', 'D', 'S', 1, 0, 0, 0, 0, 0, 0,
                                  0,   4,   1,   0,   0,   0,   0,   0, 0, 0, 1, 0, 0, 0};
    data = get(in(dir, "train_x_0_0000000000.bin"), &n);
    assert_int_equal(n, sizeof wide);
    assert_memory_equal(data, wide, n);
    free(data);
    scratch_free(dir);
}

static void round_trip(int64_t vocab, int64_t chunk, int64_t n, int64_t piece) {
    char *dir = scratch_new();
    struct err err = {0};
    int32_t *ids = malloc((size_t)n * 4 + 4), *back = malloc((size_t)n * 4 + 4);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)((uint64_t)i * 2654435761u % (uint64_t)vocab);
    int64_t files, tokens;
    struct chunk_writer *w = chunk_writer_open(dir, "train_x", 3, vocab, chunk, &err);
    for (int64_t i = 0; i < n; i += piece)
        assert_int_equal(chunk_writer_add(w, ids + i, n - i < piece ? n - i : piece, &err), 0);
    assert_int_equal(chunk_writer_files(w), n / chunk);
    assert_int_equal(chunk_writer_pending(w), n % chunk);
    assert_int_equal(chunk_writer_close(w, &files, &tokens, &err), 0);
    assert_int_equal(files, (n + chunk - 1) / chunk);
    assert_int_equal(tokens, n);
    for (int64_t f = 0; f < files; f++) {
        char name[64];
        struct chunk c;
        snprintf(name, sizeof name, "train_x_3_%010d.bin", (int)f);
        assert_int_equal(chunk_open(&c, in(dir, name), &err), 0);
        assert_int_equal(c.tokens, f < n / chunk ? chunk : n % chunk);
        assert_int_equal(c.dtype, vocab < 65500 ? 8 : 4);
        assert_int_equal(chunk_read(&c, 0, c.tokens, back + f * chunk, vocab, name, &err), 0);
        chunk_close(&c);
    }
    if (n) assert_memory_equal(ids, back, (size_t)n * 4);
    free(ids);
    free(back);
    scratch_free(dir);
}

static void round_trips(void **state) {
    (void)state;
    round_trip(32000, 100, 1000, 7);    /* whole chunks only */
    round_trip(32000, 100, 1001, 1001); /* several in one call, one token over */
    round_trip(65499, 64, 130, 64);
    round_trip(65500, 64, 130, 1);
    round_trip(200000, 1, 5, 2);
    round_trip(32000, 100, 3, 3); /* smaller than a chunk */
    round_trip(32000, 100, 0, 1); /* nothing: no file */
}

static void restored_writer(void **state) {
    (void)state;
    char *dir = scratch_new();
    struct err err = {0};
    int32_t ids[50], back[50];
    for (int i = 0; i < 50; i++) ids[i] = i * 11;
    struct chunk_writer *w = chunk_writer_open(dir, "v", 0, 1000, 20, &err);
    assert_int_equal(chunk_writer_add(w, ids, 33, &err), 0);
    assert_int_equal(chunk_writer_save_pending(w, in(dir, "tail"), &err), 0);
    chunk_writer_abort(w);
    struct chunk c;
    assert_int_equal(chunk_open(&c, in(dir, "tail"), &err), 0);
    assert_int_equal(c.tokens, 13);
    assert_int_equal(chunk_read(&c, 0, 13, back, 1000, "tail", &err), 0);
    chunk_close(&c);
    w = chunk_writer_open(dir, "v", 0, 1000, 20, &err);
    assert_int_equal(chunk_writer_restore(w, 1, back, 13, &err), 0);
    assert_int_equal(chunk_writer_add(w, ids + 33, 17, &err), 0);
    int64_t files, tokens;
    assert_int_equal(chunk_writer_close(w, &files, &tokens, &err), 0);
    assert_int_equal(files, 3);
    assert_int_equal(tokens, 50);
    const char *names[] = {"v_0_0000000000.bin", "v_0_0000000001.bin", "v_0_0000000002.bin"};
    for (int f = 0; f < 3; f++) {
        assert_int_equal(chunk_open(&c, in(dir, names[f]), &err), 0);
        assert_int_equal(chunk_read(&c, 0, c.tokens, back + 20 * f, 1000, names[f], &err), 0);
        chunk_close(&c);
    }
    assert_memory_equal(back, ids, sizeof ids);
    /* an empty writer's tail is a chunk of no tokens */
    w = chunk_writer_open(dir, "v", 0, 1000, 20, &err);
    assert_int_equal(chunk_writer_save_pending(w, in(dir, "tail"), &err), 0);
    chunk_writer_abort(w);
    assert_int_equal(chunk_open(&c, in(dir, "tail"), &err), 0);
    assert_int_equal(c.tokens, 0);
    chunk_close(&c);
    scratch_free(dir);
}

static void make(char *file, int dtype, uint64_t tokens) {
    memcpy(file, "LITPKDS\1\0\0\0\0\0\0\0", 15);
    file[15] = (char)dtype;
    memcpy(file + 16, &tokens, 8);
}

static void integer_types(void **state) {
    (void)state;
    char *dir = scratch_new();
    const char *path = in(dir, "t.bin");
    const int sizes[9] = {0, 1, 1, 2, 4, 8, 0, 0, 2};
    struct err err = {0};
    for (int dtype = 1; dtype <= 8; dtype++) {
        if (!sizes[dtype]) continue;
        char file[24 + 3 * 8] = "";
        make(file, dtype, 3);
        for (int i = 0; i < 3; i++) file[24 + i * sizes[dtype]] = (char)(5 + i);
        put(path, file, 24 + 3 * (size_t)sizes[dtype]);
        struct chunk c;
        int32_t ids[3];
        assert_int_equal(chunk_open(&c, path, &err), 0);
        assert_int_equal(chunk_read(&c, 1, 2, ids, 8, path, &err), 0);
        assert_int_equal(ids[0], 6);
        assert_int_equal(ids[1], 7);
        assert_int_equal(chunk_read(&c, 0, 3, ids, 7, path, &err), -1);
        assert_says(err, "token 2 is id 7");
        assert_int_equal(chunk_read(&c, 2, 2, ids, 8, path, &err), -1);
        assert_int_equal(chunk_read(&c, -1, 2, ids, 8, path, &err), -1);
        assert_int_equal(chunk_read(&c, INT64_MAX, 2, ids, 8, path, &err), -1);
        chunk_close(&c);
        memset(file + 24, 0xff, sizeof file - 24); /* -1, or the type's largest number */
        put(path, file, 24 + 3 * (size_t)sizes[dtype]);
        assert_int_equal(chunk_open(&c, path, &err), 0);
        bool is_unsigned = dtype == 1 || dtype == 8;
        assert_int_equal(chunk_read(&c, 0, 1, ids, 70000, path, &err), is_unsigned ? 0 : -1);
        chunk_close(&c);
    }
    scratch_free(dir);
}

static void refuse(const char *path, const char *file, size_t n, const char *word) {
    struct err err = {0};
    struct chunk c;
    put(path, file, n);
    assert_int_equal(chunk_open(&c, path, &err), -1);
    assert_says(err, word);
    assert_says(err, path);
}

static void hostile_files(void **state) {
    (void)state;
    char *dir = scratch_new(), file[64] = "";
    const char *path = in(dir, "t.bin");
    struct err err = {0};
    struct chunk c;
    make(file, 8, 4);
    refuse(path, file, 0, "not a chunk file");
    refuse(path, file, 23, "not a chunk file");
    refuse(path, file, 24, "promises 4 tokens");
    refuse(path, file, 31, "promises 4 tokens");
    refuse(path, file, 33, "promises 4 tokens");
    for (int dtype = -1; dtype <= 9; dtype++)
        if (dtype < 1 || dtype == 6 || dtype == 7 || dtype == 9) {
            make(file, dtype, 4);
            refuse(path, file, 32, "dtype code");
        }
    make(file, 8, UINT64_MAX);
    refuse(path, file, 32, "promises");
    make(file, 8, (1ull << 63) + 4); /* times two wraps to 8 bytes */
    refuse(path, file, 32, "promises");
    make(file, 8, 4);
    file[7] = 2;
    refuse(path, file, 32, "version 2");
    file[0] = 'l';
    refuse(path, file, 32, "not a chunk file");
    assert_int_equal(chunk_open(&c, dir, &err), -1);
    assert_int_equal(chunk_open(&c, in(dir, "none.bin"), &err), -1);
    scratch_free(dir);
}

static void writer_refuses(void **state) {
    (void)state;
    char *dir = scratch_new();
    struct err err = {0};
    assert_null(chunk_writer_open(dir, "x", 0, 100, 0, &err));
    assert_null(chunk_writer_open(dir, "x", 0, 100, (int64_t)CHUNK_TOKENS_MAX + 1, &err));
    assert_null(chunk_writer_open(dir, "x", 0, 0, 10, &err));
    struct chunk_writer *w = chunk_writer_open(dir, "x", 0, 100, 10, &err);
    const int32_t bad[2] = {100, -1};
    assert_int_equal(chunk_writer_add(w, bad, 1, &err), -1);
    assert_says(err, "id 100");
    assert_int_equal(chunk_writer_add(w, bad + 1, 1, &err), -1);
    chunk_writer_abort(w);
    assert_false(there(in(dir, "x_0_0000000000.bin")));
    const int32_t good[10] = {0};
    w = chunk_writer_open(in(dir, "missing"), "x", 0, 100, 10, &err);
    assert_int_equal(chunk_writer_add(w, good, 10, &err), -1);
    chunk_writer_abort(w);
    chunk_writer_abort(NULL);
    assert_int_equal(mem_in_use(), 0);
    scratch_free(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_bytes),  cmocka_unit_test(round_trips),   cmocka_unit_test(restored_writer),
        cmocka_unit_test(integer_types), cmocka_unit_test(hostile_files), cmocka_unit_test(writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
